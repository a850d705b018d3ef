/* The C11 threads that librdkafka is built on, by way of POSIX threads: ThreadSanitizer knows those alone, and ends
 * where a thread comes to it that it did not see begin. Linked into programs of the tsan build only. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t) && sizeof(cnd_t) == sizeof(pthread_cond_t) &&
		       sizeof(thrd_t) == sizeof(pthread_t),
	       "glibc has one kind of thread under two names");

struct beginning {
	thrd_start_t start;
	void *arg;
};

static void *begin(void *context)
{
	struct beginning own = *(struct beginning *)context;

	free(context);
	return (void *)(intptr_t)own.start(own.arg);
}

static int result(int code)
{
	switch (code) {
	case 0:
		return thrd_success;
	case EBUSY:
		return thrd_busy;
	case ETIMEDOUT:
		return thrd_timedout;
	case ENOMEM:
		return thrd_nomem;
	default:
		return thrd_error;
	}
}

int thrd_create(thrd_t *ret, thrd_start_t start, void *arg)
{
	struct beginning *own = malloc(sizeof(*own));

	if (!own)
		return thrd_nomem;
	*own = (struct beginning){ start, arg };
	return result(pthread_create(ret, NULL, begin, own));
}

int thrd_join(thrd_t thread, int *ret)
{
	void *value = NULL;
	int code = pthread_join(thread, &value);

	if (ret)
		*ret = (int)(intptr_t)value;
	return result(code);
}

int mtx_init(mtx_t *mutex, int type)
{
	pthread_mutexattr_t attr;
	int code;

	(void)pthread_mutexattr_init(&attr);
	if (type & mtx_recursive)
		(void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	code = pthread_mutex_init((pthread_mutex_t *)mutex, &attr);
	(void)pthread_mutexattr_destroy(&attr);
	return result(code);
}

int mtx_lock(mtx_t *mutex)
{
	return result(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int mtx_unlock(mtx_t *mutex)
{
	return result(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

void mtx_destroy(mtx_t *mutex)
{
	(void)pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int cnd_init(cnd_t *cond)
{
	return result(pthread_cond_init((pthread_cond_t *)cond, NULL));
}

int cnd_signal(cnd_t *cond)
{
	return result(pthread_cond_signal((pthread_cond_t *)cond));
}

int cnd_broadcast(cnd_t *cond)
{
	return result(pthread_cond_broadcast((pthread_cond_t *)cond));
}

int cnd_wait(cnd_t *cond, mtx_t *mutex)
{
	return result(pthread_cond_wait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *cond, mtx_t *mutex, const struct timespec *until)
{
	return result(pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, until));
}

void cnd_destroy(cnd_t *cond)
{
	(void)pthread_cond_destroy((pthread_cond_t *)cond);
}
