/* jobserver.h: clients and servers of GNU make's job server. See jobserver(7). */
#ifndef JOBSERVER_H
#define JOBSERVER_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct jobserver_job;

/* One instance. The first five fields are the program's to read, and the first three to set before an
 * instance is created; the others are the library's. */
struct jobserver {
	bool dry_run; /* the program shall do nothing */
	bool debug; /* it shall tell what it does */
	bool keep_going; /* it shall go on after errors, as far as it can */

	pid_t stopped; /* after ECHILD: a child that is no job and has ended; else -1 */
	int status; /* its status, as waitpid(2) gives it */

	size_t size; /* tokens of a pool that was created here; else 0 */
	bool has_free_token; /* the slot that needs no token is free */

	size_t current_jobs; /* jobs that run */
	size_t max_jobs; /* jobs for which there is memory */
	struct jobserver_job *jobs;

	struct pollfd poll[2]; /* readable when a child has ended; when there may be a token */
	int write; /* where tokens are given back */
};

/* Runs in a new process; what it returns is the exit status. */
typedef int (*jobserver_callback_t)(void *data);
/* Runs in the caller of the function that finds that a job has ended; status is that of waitpid(2). */
typedef void (*jobserver_callback_return_t)(void *data, int status);

int jobserver_connect(struct jobserver *js);
int jobserver_create(struct jobserver *js, char const *tokens);
int jobserver_create_n(struct jobserver *js, size_t size, char token);
int jobserver_close(struct jobserver *js);
void jobserver_close_(struct jobserver *js, bool inherit);

int jobserver_launch_job(struct jobserver *js, int wait, bool shared, void *data,
			 jobserver_callback_t func, jobserver_callback_return_t done);
int jobserver_terminate_job(struct jobserver *js, pid_t pid, int status);
int jobserver_wait(struct jobserver *js, int timeout);
int jobserver_collect(struct jobserver *js, int timeout);
int jobserver_clear(struct jobserver *js);

int jobserver_print(FILE *stream, struct jobserver const *js, const char *separator,
		    const char *job_separator, const char *inter_job_separator);

int jobserver_getenv(struct jobserver *js);
int jobserver_setenv(struct jobserver const *js);
int jobserver_unsetenv(struct jobserver const *js);
int jobserver_getenv_(int *read_fd, int *write_fd, bool *dry_run, bool *debug, bool *keep_going);
int jobserver_setenv_(int read_fd, int write_fd, bool dry_run, bool debug, bool keep_going);

/* ---- The loop of a build tool ---- */

/* The next job of jobserver_run(), as jobserver_launch_job() takes it. */
struct jobserver_task {
	bool shared;
	void *data;
	jobserver_callback_t func;
	jobserver_callback_return_t done;
};

enum jobserver_next {
	JOBSERVER_DONE = 0, /* no job any more */
	JOBSERVER_READY = 1, /* one can be started */
	JOBSERVER_LATER = 2 /* none before one of the running jobs has ended */
};

/* Asked, with task NULL, whether a job is ready; and if it is and there is a slot, at once again, to name it. */
typedef enum jobserver_next (*jobserver_next_t)(void *context, struct jobserver_task *task);

int jobserver_run(struct jobserver *js, jobserver_next_t next, void *context);

#ifdef __cplusplus
}
#endif

#endif
