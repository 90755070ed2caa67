/* The layout that programs are compiled with (x86-64 and other LP64), in C and in C++. */
#include "jobserver.h"

#ifdef __cplusplus
#define FACT(what) static_assert(what, #what)
#else
#define FACT(what) extern char fact[(what) ? 1 : -1]
#endif
#define AT(field, place) FACT(offsetof(struct jobserver, field) == (place))

FACT(sizeof(struct jobserver) == 80);
AT(dry_run, 0);
AT(debug, 1);
AT(keep_going, 2);
AT(stopped, 4);
AT(status, 8);
AT(size, 16);
AT(has_free_token, 24);
AT(current_jobs, 32);
AT(max_jobs, 40);
AT(jobs, 48);
AT(poll, 56);
AT(write, 72);
FACT(sizeof(struct jobserver_task) == 32);
FACT(offsetof(struct jobserver_task, data) == 8);
FACT(offsetof(struct jobserver_task, done) == 24);

static int job(void *data)
{
	(void)data;
	return 3;
}

static int status = -1;

static void ended(void *data, int how)
{
	*(int *)data = how;
}

int main(void)
{
	struct jobserver js;

	js.dry_run = js.debug = js.keep_going = false;
	if (jobserver_create(&js, "a") != 2)
		return 1;
	if (jobserver_launch_job(&js, 0, true, &status, job, ended) != 0)
		return 2;
	if (jobserver_collect(&js, -1) != 0 || status != 3 << 8)
		return 3;
	return jobserver_close(&js) == 0 ? 0 : 4;
}
