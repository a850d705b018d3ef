/* Making a librdkafka handle: settings, properties of the configuration, what it complains about. */
#include "kafka/handle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "[thrd:localhost:9092/1]: text" is "text" to a person. */
static const char *without_thread(const char *text)
{
	const char *end = text[0] == '[' ? strstr(text, "]: ") : NULL;

	return end ? end + 3 : text;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	struct ls_kafka_handle *handle = rk ? rd_kafka_opaque(rk) : NULL;

	/* CONFWARN: one set of properties serves producers and consumers, each warns about the other's. */
	if (!handle || level > 4 || strcmp(facility, "CONFWARN") == 0)
		return;
	pthread_mutex_lock(&handle->lock);
	snprintf(handle->complaint, sizeof(handle->complaint), "%s", without_thread(text));
	pthread_mutex_unlock(&handle->lock);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
	(void)rk;
	ls_kafka_handle_note(opaque, (rd_kafka_resp_err_t)code, reason);
}

void ls_kafka_handle_note(struct ls_kafka_handle *handle, rd_kafka_resp_err_t code, const char *reason)
{
	char fatal[200];

	if (code == RD_KAFKA_RESP_ERR__FATAL) {
		code = rd_kafka_fatal_error(handle->rk, fatal, sizeof(fatal));
		reason = fatal;
	}
	/* One broker that cannot be reached is no obstacle yet, and librdkafka's own trouble passes. */
	bool obstacle = code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || ls_kafka_class(code) == LS_AUTH ||
			ls_kafka_class(code) == LS_FENCED || reason == fatal;

	pthread_mutex_lock(&handle->lock);
	snprintf(handle->complaint, sizeof(handle->complaint), "%s", reason);
	/* "all brokers down" follows every refused log-in: keep the reason a person can act on. */
	if (obstacle && !(code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && handle->class > LS_RETRY)) {
		handle->class = reason == fatal && ls_kafka_class(code) < LS_FENCED ? LS_FATAL : ls_kafka_class(code);
		snprintf(handle->code, sizeof(handle->code), "%s", rd_kafka_err2name(code));
		snprintf(handle->problem, sizeof(handle->problem), "%s", reason);
	}
	pthread_mutex_unlock(&handle->lock);
}

void ls_kafka_handle_forget(struct ls_kafka_handle *handle)
{
	pthread_mutex_lock(&handle->lock);
	handle->class = LS_OK;
	handle->complaint[0] = 0;
	pthread_mutex_unlock(&handle->lock);
}

enum ls_class ls_kafka_fail(struct ls_kafka_handle *handle, rd_kafka_resp_err_t code, struct ls_error *err,
			    const char *fmt, ...)
{
	enum ls_class class = ls_kafka_class(code);
	char what[200], complaint[240] = "";
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	pthread_mutex_lock(&handle->lock);
	if (class == LS_RETRY || class == LS_AUTH)
		snprintf(complaint, sizeof(complaint), "%s", handle->complaint);
	/* A question that found nobody says only "timed out"; why nobody answered is known better here. */
	if (class == LS_RETRY && handle->class == LS_AUTH)
		class = LS_AUTH;
	pthread_mutex_unlock(&handle->lock);
	return ls_fail(err, class, rd_kafka_err2name(code), "%s: %s%s%s%s", what, ls_kafka_text(code),
		       complaint[0] ? " (" : "", complaint, complaint[0] ? ")" : "");
}

static bool is_secret(const char *name)
{
	return strstr(name, "password") || strstr(name, "secret") || strstr(name, "pem") || strstr(name, "oauthbearer");
}

static enum ls_class set_one(rd_kafka_conf_t *conf, struct ls_pair property, struct ls_error *err)
{
	char *name = strndup(property.name.ptr, property.name.len);
	char *value = strndup(property.value.ptr ? property.value.ptr : "", property.value.len);
	char text[256];
	enum ls_class class = LS_OK;

	if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK)
		class = ls_fail(err, LS_FATAL, "config", "kafka: %s: %s", name,
				is_secret(name) ? "librdkafka does not accept its value" : text);
	free(name);
	free(value);
	return class;
}

static void set_ours(rd_kafka_conf_t *conf, const struct ls_kafka_setting *setting)
{
	char text[256];

	for (; setting->name; setting++)
		if (setting->value)
			rd_kafka_conf_set(conf, setting->name, setting->value, text, sizeof(text));
}

static void get(const rd_kafka_conf_t *conf, const char *name, char *out, size_t size)
{
	size_t room = size;

	if (rd_kafka_conf_get(conf, name, out, &room) != RD_KAFKA_CONF_OK || room > size)
		out[0] = 0;
}

/* Compared as librdkafka prints them back, so that aliases and spellings (acks=-1) are the same. */
static enum ls_class check_fixed(const rd_kafka_conf_t *conf, const rd_kafka_conf_t *want,
				 const struct ls_kafka_setting *setting, struct ls_error *err)
{
	for (; setting->name; setting++) {
		char is[256], must[256];

		if (setting->how != LS_FIXED || !setting->value)
			continue;
		get(conf, setting->name, is, sizeof(is));
		get(want, setting->name, must, sizeof(must));
		if (strcmp(is, must) != 0)
			return ls_fail(
				err, LS_FATAL, "config",
				"kafka: %s must be %s, not %s: exactly-once delivery rests on it; remove the line",
				setting->name, must, is);
	}
	return LS_OK;
}

static long long number(const rd_kafka_conf_t *conf, const char *name)
{
	char text[64];

	get(conf, name, text, sizeof(text));
	return strtoll(text, NULL, 10);
}

/* librdkafka refuses a consumer whose fetch cannot hold what its producers may send. */
static void fit_fetch(rd_kafka_conf_t *conf)
{
	char text[256], value[32];
	long long bytes = number(conf, "message.max.bytes");

	if (bytes > number(conf, "fetch.max.bytes")) {
		snprintf(value, sizeof(value), "%lld", bytes);
		rd_kafka_conf_set(conf, "fetch.max.bytes", value, text, sizeof(text));
	}
}

static enum ls_class make_conf(const struct ls_kafka_conf *user, const struct ls_kafka_setting *setting,
			       rd_kafka_conf_t *conf, struct ls_error *err)
{
	char servers[64];

	set_ours(conf, setting);
	rd_kafka_conf_t *want = rd_kafka_conf_dup(conf);
	enum ls_class class = LS_OK;

	for (size_t i = 0; i < user->count && !class; i++)
		class = set_one(conf, user->property[i], err);
	if (!class)
		class = check_fixed(conf, want, setting, err);
	rd_kafka_conf_destroy(want);
	if (class)
		return class;
	fit_fetch(conf);
	size_t size = sizeof(servers);
	if (rd_kafka_conf_get(conf, "bootstrap.servers", servers, &size) != RD_KAFKA_CONF_OK || size <= 1)
		if (number(conf, "test.mock.num.brokers") == 0)
			return ls_fail(err, LS_FATAL, "config", "kafka: bootstrap.servers is not set");
	return LS_OK;
}

enum ls_class ls_kafka_handle_open(struct ls_kafka_handle *handle, void *owner, rd_kafka_type_t type,
				   const struct ls_kafka_conf *user, const struct ls_kafka_setting *setting,
				   void (*prepare)(rd_kafka_conf_t *conf), struct ls_error *err)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[256];

	memset(handle, 0, sizeof(*handle));
	handle->owner = owner;
	pthread_mutex_init(&handle->lock, NULL);
	rd_kafka_conf_set_opaque(conf, handle);
	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set(conf, "log_level", "4", text, sizeof(text));
	rd_kafka_conf_set(conf, "socket.nagle.disable", "true", text, sizeof(text));
	rd_kafka_conf_set(conf, "socket.keepalive.enable", "true", text, sizeof(text));
	rd_kafka_conf_set(conf, "client.id", "lockstep", text, sizeof(text));
	enum ls_class class = make_conf(user, setting, conf, err);
	if (class) {
		rd_kafka_conf_destroy(conf);
		return class;
	}
	if (prepare)
		prepare(conf);
	handle->rk = rd_kafka_new(type, conf, text, sizeof(text));
	if (handle->rk)
		return LS_OK;
	rd_kafka_conf_destroy(conf);
	return ls_fail(err, LS_FATAL, "config", "kafka: %s", text);
}

void ls_kafka_handle_close(struct ls_kafka_handle *handle, int flags)
{
	if (handle->rk)
		rd_kafka_destroy_flags(handle->rk, flags);
	handle->rk = NULL;
	pthread_mutex_destroy(&handle->lock);
}
