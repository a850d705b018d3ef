/* avro-c's error text is one buffer for the whole process: it is copied under one lock. */
#include "avro/avro_text.h"

#include <avro.h>
#include <pthread.h>
#include <stdio.h>

void ls_avro_text(char out[160])
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&lock);
	snprintf(out, 160, "%s", avro_strerror());
	pthread_mutex_unlock(&lock);
}
