/* Programs with threads, children, handlers and callbacks of their own; nested ones; and jobserver_run. */
#include "check.h"
#include <pthread.h>
#include <spawn.h>

extern char **environ;

/* ---- children of the program's own ---- */

/* Functions of libc that start and collect a child find its status, while jobs come and go. */
static void popen_and_system(void)
{
	struct jobserver js;
	char line[16];

	create(&js, "abc");
	for (int i = 0; i < 30; i++) {
		FILE *stream = popen("echo text; exit 3", "r");

		check(stream);
		check(jobserver_launch_job(&js, -1, true, NULL, job_ends, done) == 0 || errno == ECHILD);
		check(fgets(line, sizeof line, stream) && strcmp(line, "text\n") == 0);
		jobserver_wait(&js, 2);
		check(WEXITSTATUS(pclose(stream)) == 3);
		check(WEXITSTATUS(system("exit 4")) == 4);
	}
	while (jobserver_collect(&js, -1) != 0)
		check(errno == ECHILD);
	stop(&js);
}

static volatile sig_atomic_t reaped;

/* Collects what it knows; the jobs are not known to it. */
static pid_t known;

static void reaper(int sig)
{
	int kept = errno;

	(void)sig;
	if (known > 0 && waitpid(known, NULL, WNOHANG) == known) {
		known = 0;
		reaped++;
	}
	errno = kept;
}

static void handler_that_collects(void)
{
	struct sigaction own = { .sa_handler = reaper, .sa_flags = SA_RESTART | SA_NOCLDSTOP };
	struct jobserver js;

	sigaction(SIGCHLD, &own, NULL);
	create(&js, "a");
	for (int i = 0; i < 30; i++) {
		sigset_t set, old;

		sigemptyset(&set);
		sigaddset(&set, SIGCHLD);
		sigprocmask(SIG_BLOCK, &set, &old);
		known = fork();
		check(known >= 0);
		if (known == 0)
			_exit(0);
		sigprocmask(SIG_SETMASK, &old, NULL);
		check(jobserver_launch_job(&js, -1, true, NULL, job_ends, done) == 0 || errno == ECHILD);
		while (jobserver_collect(&js, -1) != 0)
			check(errno == ECHILD);
		while (known)
			nap(1);
	}
	check(reaped == 30);
	stop(&js);
}

/* The program has asked for no zombies: its own are collected, and jobs have their status. */
static void sigchld_ignored(void)
{
	struct jobserver js;
	int code = 6, status;
	pid_t pid;

	signal(SIGCHLD, SIG_IGN);
	create(&js, "a");
	launch(&js, job_ends, &code);
	check(jobserver_wait(&js, -1) == 0 && WEXITSTATUS(done_status) == 6);
	pid = fork();
	if (pid == 0)
		_exit(2);
	launch(&js, job_stays, NULL);
	fails(jobserver_wait(&js, -1), ECHILD);
	check(js.stopped == pid && WEXITSTATUS(js.status) == 2);
	check(waitpid(pid, &status, WNOHANG) == -1 && errno == ECHILD);
	stop(&js);
	check(signal(SIGCHLD, SIG_DFL) == SIG_IGN);
}

/* A program that keeps SIGCHLD blocked and fetches it when it likes finds it. */
static void sigchld_blocked(void)
{
	struct timespec none = { 0, 0 };
	struct jobserver js;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	create(&js, "a");
	for (int i = 0; i < 10; i++) {
		launch(&js, job_ends, NULL);
		launch(&js, job_ends, NULL);
		check(jobserver_collect(&js, -1) == 0);
		check(sigtimedwait(&set, NULL, &none) == SIGCHLD);
	}
	check(done_count == 20);
	stop(&js);
}

static void *waits_for_sigchld(void *data)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (;;)
		sigwait(&set, &sig);
	return data;
}

/* One thread takes each SIGCHLD off the queue before anybody else sees it. */
static void sigwait_in_a_thread(void)
{
	struct jobserver js;
	pthread_t thread;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	check(pthread_create(&thread, NULL, waits_for_sigchld, NULL) == 0);
	create(&js, "a");
	for (int i = 0; i < 5; i++)
		check(jobserver_launch_job(&js, -1, true, NULL, job_ends, done) == 0);
	check(jobserver_collect(&js, -1) == 0 && done_count == 5);
	stop(&js);
}

/* The program has put its own handler over ours. */
static void handler_replaced(void)
{
	struct jobserver js;

	create(&js, "a");
	signal(SIGCHLD, reaper);
	for (int i = 0; i < 5; i++)
		check(jobserver_launch_job(&js, -1, true, NULL, job_ends, done) == 0);
	check(jobserver_collect(&js, -1) == 0 && done_count == 5);
	stop(&js);
}

/* From then on nobody learns a status, but the ends are seen. */
static void sigchld_ignored_later(void)
{
	struct jobserver js;

	create(&js, "a");
	signal(SIGCHLD, SIG_IGN);
	for (int i = 0; i < 5; i++)
		check(jobserver_launch_job(&js, -1, true, NULL, job_ends, done) == 0);
	check(jobserver_collect(&js, -1) == 0 && done_count == 5 && done_status == -1);
	check(level(&js) == 1);
	check(jobserver_close(&js) == 0 && signal(SIGCHLD, SIG_DFL) == SIG_IGN);
}

/* ---- threads ---- */

static void count(void *data, int status)
{
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	++*(int *)data;
}

static int job_works(void *data)
{
	(void)data;
	return 0;
}

static void *thread_with_jobs(void *data)
{
	struct jobserver js;
	int ended = 0;

	(void)data;
	check(jobserver_connect(&js) == 0);
	for (int i = 0; i < 100; i++)
		check(jobserver_launch_job(&js, -1, true, &ended, job_works, count) == 0);
	check(jobserver_collect(&js, -1) == 0 && ended == 100);
	check(jobserver_close(&js) == 0);
	return NULL;
}

static void an_instance_per_thread(void)
{
	struct jobserver js;
	pthread_t threads[8];

	create(&js, "abcd");
	for (int i = 0; i < 8; i++)
		check(pthread_create(&threads[i], NULL, thread_with_jobs, NULL) == 0);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	check(level(&js) == 4);
	stop(&js);
}

/* Launched here, waited for there: the signal goes to the thread that has launched. */
static void *waits(void *data)
{
	check(jobserver_collect(data, -1) == 0);
	return NULL;
}

static void jobs_of_another_thread(void)
{
	struct jobserver js;
	pthread_t thread;

	create(&js, "a");
	for (int i = 0; i < 20; i++) {
		check(pipe(gate) == 0);
		launch(&js, job_waits, NULL);
		launch(&js, job_waits, NULL);
		check(pthread_create(&thread, NULL, waits, &js) == 0);
		open_gate();
		pthread_join(thread, NULL);
	}
	check(done_count == 40);
	stop(&js);
}

/* ---- callbacks that use the library ---- */

static struct jobserver again;
static int starts;

static void starts_another(void *data, int status)
{
	check(status == 0);
	fails(jobserver_close(&again), EBUSY);
	if (starts++ < 50)
		check(jobserver_launch_job(&again, -1, true, data, job_works, starts_another) == 0);
}

static void callbacks_launch(void)
{
	create(&again, "ab");
	for (int i = 0; i < 3; i++)
		check(jobserver_launch_job(&again, -1, true, NULL, job_works, starts_another) == 0);
	while (again.current_jobs > 0)
		check(jobserver_wait(&again, -1) >= 0);
	check(starts == 53 && level(&again) == 2);
	stop(&again);
}

/* ---- nested ---- */

static int joins(void *data)
{
	struct jobserver js;
	int want = *(int *)data;

	if (jobserver_connect(&js) == -1)
		return errno == want ? 0 : 1;
	if (want)
		return 2;
	done_count = 0;
	for (int i = 0; i < 4; i++)
		check(jobserver_launch_job(&js, -1, true, NULL, job_works, done) == 0);
	check(jobserver_collect(&js, -1) == 0 && done_count == 4);
	check(jobserver_close(&js) == 0);
	return 0;
}

static int makes_its_own(void *data)
{
	struct jobserver js;

	create(&js, "xyz");
	done_count = 0;
	for (int i = 0; i < 8; i++)
		check(jobserver_launch_job(&js, -1, true, data, job_works, done) == 0);
	check(jobserver_collect(&js, -1) == 0 && done_count == 8);
	check(jobserver_close(&js) == 0);
	return 0;
}

static void nested(void)
{
	struct jobserver js;
	int none = 0, closed = EACCES;

	create(&js, "ab");
	check(jobserver_launch_job(&js, -1, true, &none, joins, done) == 0);
	check(jobserver_collect(&js, -1) == 0 && done_status == 0);
	check(jobserver_launch_job(&js, -1, false, &closed, joins, done) == 0);
	check(jobserver_collect(&js, -1) == 0 && done_status == 0);
	check(jobserver_launch_job(&js, -1, true, NULL, makes_its_own, done) == 0);
	check(jobserver_collect(&js, -1) == 0 && done_status == 0);
	check(done_count == 3 && level(&js) == 2);
	stop(&js);
}

/* A fork of the program's own shares the instance; neither side takes anything from the other. */
static void forked(void)
{
	struct jobserver js;
	pid_t pid;
	int status;

	create(&js, "ab");
	launch(&js, job_stays, NULL);
	for (int how = 0; how < 3; how++) {
		pid = fork();
		if (pid == 0) {
			struct sigaction now;
			struct jobserver mine;

			if (how == 2) { /* goes on with it as it is */
				check(jobserver_wait(&js, -1) == 0);
				launch(&js, job_works, NULL);
				launch(&js, job_works, NULL);
				check(jobserver_collect(&js, -1) == 0 && done_count == 2);
				jobserver_close_(&js, false);
				_exit(0);
			}
			jobserver_close_(&js, how);
			sigaction(SIGCHLD, NULL, &now);
			check(now.sa_handler == SIG_DFL && js.current_jobs == 0);
			check((jobserver_connect(&mine) == 0) == how);
			if (how) {
				launch(&mine, job_works, NULL);
				launch(&mine, job_works, NULL);
				check(jobserver_collect(&mine, -1) == 0);
				check(jobserver_close(&mine) == 0);
			}
			_exit(0);
		}
		check(waitpid(pid, &status, 0) == pid && status == 0);
	}
	check(jobserver_wait(&js, 0) == 1 && done_count == 0 && level(&js) == 2);
	launch(&js, job_works, NULL);
	check(jobserver_wait(&js, -1) == 1 && done_count == 1);
	stop(&js);
}

/* ---- jobserver_run ---- */

static struct {
	int to_start, ended, failed, together, peak;
	int later;
} queue;

static int short_job(void *data)
{
	nap(5);
	return data ? 1 : 0;
}

static void run_ended(void *data, int status)
{
	queue.ended++;
	queue.together--;
	queue.failed += status != 0;
	check(!data == (status == 0));
}

static enum jobserver_next next(void *context, struct jobserver_task *task)
{
	check(context == &queue);
	/* Every fifth one needs that all before it have ended. */
	if (queue.to_start % 5 == 0 && queue.together > 0) {
		queue.later++;
		return JOBSERVER_LATER;
	}
	if (queue.to_start == 0)
		return JOBSERVER_DONE;
	if (!task)
		return JOBSERVER_READY;
	if (++queue.together > queue.peak)
		queue.peak = queue.together;
	*task = (struct jobserver_task){ .func = short_job, .done = run_ended,
					 .data = queue.to_start-- % 7 ? NULL : &queue };
	return JOBSERVER_READY;
}

static void run(void)
{
	struct sigaction before, after;
	struct jobserver js;

	create(&js, "ab");
	sigaction(SIGINT, NULL, &before);
	queue.to_start = 60;
	check(jobserver_run(&js, next, &queue) == 0);
	check(queue.ended == 60 && queue.failed == 8 && queue.later > 0);
	check(queue.peak >= 2 && queue.peak <= 3 && level(&js) == 2 && js.current_jobs == 0);
	sigaction(SIGINT, NULL, &after);
	check(after.sa_handler == before.sa_handler);
	js.dry_run = true;
	queue.to_start = 5;
	check(jobserver_run(&js, next, &queue) == 0 && queue.ended == 60);
	stop(&js);
}

static int quits, started;

static int killer(void *data)
{
	struct timespec long_ago = { 0, 20000000 };

	if (data)
		for (int i = 0; i < quits; i++) {
			kill(getppid(), *(int *)data);
			nanosleep(&long_ago, NULL);
		}
	nap(quits == 1 ? 100 : 60000);
	return 0;
}

static enum jobserver_next endless(void *context, struct jobserver_task *task)
{
	if (task)
		*task = (struct jobserver_task){ .func = killer, .done = done,
						 .data = started++ == 2 ? context : NULL };
	return JOBSERVER_READY;
}

static void quit(void)
{
	static int signals[] = { SIGINT, SIGTERM };

	for (int i = 0; i < 4; i++) {
		struct jobserver js;

		create(&js, "ab");
		quits = i / 2 + 1;
		started = done_count = 0;
		check(jobserver_run(&js, endless, &signals[i % 2]) == signals[i % 2]);
		if (quits == 1)
			check(done_count >= 3 && js.current_jobs == 0);
		else
			check(done_count == 0 && js.current_jobs == 3);
		stop(&js);
	}
}

static void quit_that_is_ignored(void)
{
	static int signals[] = { SIGINT };
	struct jobserver js;

	signal(SIGINT, SIG_IGN);
	create(&js, "ab");
	check(pipe(gate) == 0);
	queue.to_start = 20;
	raise(signals[0]);
	check(jobserver_run(&js, next, &queue) == 0 && queue.ended == 20);
	check(signal(SIGINT, SIG_DFL) == SIG_IGN);
	stop(&js);
}

CASES({ "popen_and_system", popen_and_system },
      { "handler_that_collects", handler_that_collects },
      { "sigchld_ignored", sigchld_ignored },
      { "sigchld_blocked", sigchld_blocked },
      { "sigwait_in_a_thread", sigwait_in_a_thread },
      { "handler_replaced", handler_replaced },
      { "sigchld_ignored_later", sigchld_ignored_later },
      { "an_instance_per_thread", an_instance_per_thread },
      { "jobs_of_another_thread", jobs_of_another_thread },
      { "callbacks_launch", callbacks_launch },
      { "nested", nested },
      { "forked", forked },
      { "run", run },
      { "quit", quit },
      { "quit_that_is_ignored", quit_that_is_ignored })
