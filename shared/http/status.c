/* HTTP status to error class: the one table. */
#include "http/client.h"

enum ls_class ls_http_class(int status)
{
	static const struct {
		int low, high;
		enum ls_class class;
	} table[] = {
		{ 401, 401, LS_AUTH },  { 403, 403, LS_AUTH },   { 408, 408, LS_RETRY }, { 425, 425, LS_RETRY },
		{ 429, 429, LS_RETRY }, { 400, 499, LS_POISON }, { 500, 599, LS_RETRY },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (status >= table[i].low && status <= table[i].high)
			return table[i].class;
	}
	return LS_OK;
}
