/* Three jobs at once. Without the library each ends when all have been started, so that three run at once
 * however loaded the machine is. With it, one may have to wait for the others, so they do not. */
#include "../jobs.h"
#include "table.h"
#include <pthread.h>
#include <sys/wait.h>

enum { JOBS = 3, WITHOUT_MS = 30000, WITH_MS = 250 };

_Noreturn void be_a_job(void)
{
	long ms = getenv("LD_PRELOAD") ? WITH_MS : WITHOUT_MS;

	sign(1);
	__atomic_fetch_add(&shared->jobs, 1, __ATOMIC_SEQ_CST);
	for (long i = 0; i < ms && shared->jobs < JOBS; i++)
		usleep(1000); /* as long as this everywhere: a door that waits does not wait for ever */
	sign(0);
	_exit(0);
}

static void *start(void *row)
{
	struct row *r = row;

	r->door->start(r);
	return NULL;
}

/* A door that returns when its child has ended is called by the side of jobs of another door, or with
 * `threads` by the side of itself. */
int gates(const char *door, const char *exec, int threads)
{
	static struct row rows[JOBS];
	pthread_t thread[JOBS];
	const struct door *d = door_named(door), *beside = d;
	int failures = 0;

	if (!d)
		return 95;
	if (is_absent(d, *exec ? exec_named(exec) : NULL)) {
		printf("absent\n");
		return 0;
	}
	if (d->traits & RETURNS && !threads)
		beside = door_named("posix_spawn");
	for (int i = 0; i < JOBS; i++) {
		struct row *r = &rows[i];

		*r = (struct row){ .door = i < JOBS - 1 ? beside : d, .program = "job" };
		r->is_job = 1;
		r->pid = NO_PID;
		r->exec = *exec ? exec_named(exec) : NULL;
		aim(r);
		if (threads)
			pthread_create(&thread[i], NULL, start, r);
		else
			start(r);
	}
	for (int i = 0; i < JOBS; i++) {
		if (threads)
			pthread_join(thread[i], NULL);
		finish_stream(&rows[i]);
		if (rows[i].pid > 0)
			waitpid(rows[i].pid, NULL, __WALL);
		failures += rows[i].ret < 0;
	}
	printf("%d failed, then %s\n", failures, wait(NULL) < 0 ? "no child" : "a child");
	return 0;
}
