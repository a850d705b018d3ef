/* Any bytes as a configuration: it is read or refused, never more. References to files and the environment of the
 * machine are cut out first, so that what is found depends on the input alone. */
#include <stdlib.h>

#include "config/config.h"
#include "../support/stub_kinds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ls_config *config = NULL;
	struct ls_error err;
	char *more = NULL, *text = malloc(size + 1), *at;

	memcpy(text, data, size);
	text[size] = 0;
	while ((at = memmem(text, size, "${file:", 7)))
		memcpy(at, "${env:X", 7);
	ls_config_parse("fuzz.yaml", (struct ls_str){ text, size }, stub_sources, stub_destinations, &config, &more,
			&err);
	ls_config_free(config);
	free(more);
	free(text);
	return 0;
}
