/* Health, metrics and status of the running lanes over HTTP. */
#pragma once

#include "lockstep/error.h"

struct ls_app;
struct ls_crew;
struct ls_status_server;

/* ls_status_server_open listens where http.listen says; *ret is NULL when nothing is configured. `crew` may still be
 * empty: until ls_status_server_started the process is alive but not ready. */
enum ls_class ls_status_server_open(struct ls_app *app, struct ls_crew *crew, struct ls_status_server **ret,
				    struct ls_error *err);
void ls_status_server_started(struct ls_status_server *server); /* the crew's lanes are all there; NULL ok */
void ls_status_server_tick(struct ls_status_server *server);    /* every second, looks for stuck lanes; NULL ok */
struct ls_status_server *ls_status_server_close(struct ls_status_server *server);
