/* The lanes of a running process: asked for over HTTP, and summed up per source or destination. */
#include "http/client.h"
#include "main/app.h"
#include "status.h"

#include <stdio.h>

json_t *ls_status_lanes(const struct ls_app *app)
{
	struct ls_http_client *client = NULL;
	struct ls_http_response response;
	struct ls_error err;
	json_t *root = NULL;
	char url[300], bearer[600];
	const char *const header[] = { bearer, NULL };

	if (!app->config->http_listen)
		return NULL;
	snprintf(url, sizeof url, "http://%s/api/v1/status", app->config->http_listen);
	snprintf(bearer, sizeof bearer, "Authorization: Bearer %s",
		 app->config->http_token ? app->config->http_token : "none");
	if (ls_http_client_open(2000, 4 << 20, &client, &err))
		return NULL;
	if (!ls_http_do(client, "GET", url, header, (struct ls_str){ "", 0 }, &response, &err)) {
		if (response.status == 200)
			root = json_loadb(response.body.ptr, response.body.len, 0, NULL);
		ls_http_response_release(&response);
	}
	ls_http_client_close(client);
	return root;
}

/* "sink/warehouse/0" is of side "sink" and name "warehouse"; so is "sink/warehouse". */
static bool is_of(const json_t *lane, const char *side, const char *name)
{
	const char *text = json_string_value(json_object_get(lane, "lane"));
	size_t side_len = strlen(side), len = strlen(name);

	return text && strncmp(text, side, side_len) == 0 && text[side_len] == '/' &&
	       strncmp(text + side_len + 1, name, len) == 0 &&
	       (text[side_len + 1 + len] == 0 || text[side_len + 1 + len] == '/');
}

json_t *ls_status_total(const json_t *live, const char *side, const char *name, const char *counter)
{
	json_int_t sum = 0;
	bool any = false;
	json_t *lane;
	size_t i;

	json_array_foreach(json_object_get(live, "lanes"), i, lane)
	{
		if (!is_of(lane, side, name))
			continue;
		any = true;
		sum += json_integer_value(json_object_get(lane, counter));
	}
	return any ? json_integer(sum) : json_null();
}

json_t *ls_status_last_error(const json_t *live, const char *side, const char *name)
{
	const char *newest = NULL, *newest_at = "";
	json_t *lane;
	size_t i;

	json_array_foreach(json_object_get(live, "lanes"), i, lane)
	{
		const char *text = json_string_value(json_object_get(lane, "last_error"));
		const char *at = json_string_value(json_object_get(lane, "last_error_at"));

		/* ISO times in UTC compare as texts. */
		if (!is_of(lane, side, name) || !text || strcmp(at ? at : "", newest_at) < 0)
			continue;
		newest = text;
		newest_at = at ? at : "";
	}
	return newest ? json_pack("{s:s, s:s}", "text", newest, "at", newest_at) : json_null();
}
