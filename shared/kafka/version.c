/* Which librdkafka this process runs on. */
#include "kafka/version.h"

#include <librdkafka/rdkafka.h>

const char *ls_kafka_library_version(void)
{
	return rd_kafka_version_str();
}
