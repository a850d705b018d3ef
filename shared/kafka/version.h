/* Which librdkafka this process runs on. */
#pragma once

const char *ls_kafka_library_version(void); /* "2.0.2" */
