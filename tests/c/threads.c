/* threads MODE [WHAT]: hosts with many threads in all doors at once, some of which end before their time. */
#include "jobs.h"
#include "start.h"
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

enum { CROWD = 48 };

static pthread_barrier_t line;

static void begin(pthread_t *thread, size_t stack, void *(*work)(void *), void *arg)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	if (stack)
		pthread_attr_setstacksize(&attr, stack);
	errno = pthread_create(thread, &attr, work, arg);
	if (errno)
		die("pthread_create");
	pthread_attr_destroy(&attr);
}

/* The n-th job's command, which exits with n. */
static const char *command(char *text, size_t size, int n)
{
	snprintf(text, size, "exec $JOB -b 2 -s 15 -x %d", n);
	return text;
}

/* ---- all doors at once -------------------------------------------------------------------------- */

static int statuses[CROWD];

static void *one_job(void *at)
{
	int n = (int)((int *)at - statuses);
	char text[64];

	pthread_barrier_wait(&line);
	statuses[n] = run(n % DOORS, command(text, sizeof text, n));
	return NULL;
}

static void crowd(int count, size_t stack)
{
	pthread_t threads[CROWD];

	pthread_barrier_init(&line, NULL, count);
	for (int n = 0; n < count; n++)
		begin(&threads[n], stack, one_job, &statuses[n]);
	for (int n = 0; n < count; n++)
		pthread_join(threads[n], NULL);
	for (int n = 0; n < count; n++)
		if (statuses[n] != n)
			printf("%s %d: %d\n", door_names[n % DOORS], n, statuses[n]);
	printf("%d threads\n", count);
}

static int thefts[1024];

/* Starts two and reaps two, whosever they are. */
static void *thief(void *unused)
{
	char *argv[] = { getenv("JOB"), "-b", "2", "-s", "10", "-x", "3", NULL };
	int reaped = 0, status;

	(void)unused;
	pthread_barrier_wait(&line);
	for (int n = 0; n < 2; n++)
		if (start(n ? FORK : SPAWN, argv) < 0)
			die("start");
	while (reaped < 2 && waitpid(-1, &status, 0) > 0)
		reaped += WEXITSTATUS(status) == 3;
	return &thefts[reaped];
}

static void thieves(void)
{
	pthread_t threads[CROWD / 2];
	int reaped = 0;
	void *got;

	pthread_barrier_init(&line, NULL, CROWD / 2);
	for (int n = 0; n < CROWD / 2; n++)
		begin(&threads[n], 0, thief, NULL);
	for (int n = 0; n < CROWD / 2; n++) {
		pthread_join(threads[n], &got);
		reaped += (int)((int *)got - thefts);
	}
	printf("%d reaped\n", reaped);
}

/* ---- forks while others are in the hooks ---------------------------------------------------------- */

static volatile int over;

static void *loop(void *at)
{
	char *argv[] = { "/bin/true", NULL };
	int n = (int)((int *)at - statuses);

	while (!over) {
		pid_t pid = start(n % PIDS, argv);
		int status;

		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			statuses[n]++;
	}
	return NULL;
}

/* In the forked child of a host with threads: one job after another, then two at once. */
static void child_spawns(int n)
{
	char *argv[] = { getenv("JOB"), "-s", "5", "-x", "6", NULL };
	pid_t first, second;
	int status, wrong = 0;

	for (int door = 0; door < PIDS; door++) {
		first = start(door, argv);
		wrong += waitpid(first, &status, 0) != first || WEXITSTATUS(status) != 6;
	}
	first = start(n % PIDS, argv);
	second = start((n + 1) % PIDS, argv);
	wrong += waitpid(second, &status, 0) != second || WEXITSTATUS(status) != 6;
	wrong += waitpid(first, &status, 0) != first || WEXITSTATUS(status) != 6;
	_exit(wrong ? 80 + wrong : n);
}

static void forks(void)
{
	enum { LOOPS = 6, CHILDREN = 12 };
	pthread_t threads[LOOPS];
	pid_t pids[CHILDREN];
	int status, failed = 0;

	for (int n = 0; n < LOOPS; n++)
		begin(&threads[n], 0, loop, &statuses[n]);
	for (int n = 0; n < CHILDREN; n++) {
		pids[n] = fork();
		if (pids[n] == 0)
			child_spawns(n);
		nap(10);
	}
	for (int n = 0; n < CHILDREN; n++) {
		waitpid(pids[n], &status, 0);
		printf("child %d: %d\n", n, WEXITSTATUS(status));
	}
	over = 1;
	for (int n = 0; n < LOOPS; n++) {
		pthread_join(threads[n], NULL);
		failed += statuses[n];
	}
	printf("%d starts failed\n", failed);
}

/* ---- cancelled threads ----------------------------------------------------------------------------- */

static pid_t waited_for;
static const char *way;

static void told(void *text)
{
	puts(text);
}

static void *wait_in(void *unused)
{
	struct rusage used;
	siginfo_t info;
	FILE *stream;
	int status;

	(void)unused;
	pthread_cleanup_push(told, "cleaned up");
	if (!strcmp(way, "waitpid"))
		waitpid(waited_for, &status, 0);
	else if (!strcmp(way, "wait"))
		wait(NULL);
	else if (!strcmp(way, "wait3"))
		wait3(&status, 0, &used);
	else if (!strcmp(way, "wait4"))
		wait4(waited_for, &status, 0, NULL);
	else if (!strcmp(way, "waitid"))
		waitid(P_PID, waited_for, &info, WEXITED);
	else if (!strcmp(way, "system"))
		status = system("exec sleep 1000");
	else if (!strcmp(way, "pclose")) {
		stream = popen("exec $JOB -s 300", "r");
		pclose(stream);
	}
	pthread_testcancel();
	pthread_cleanup_pop(1);
	puts("went on");
	return NULL;
}

/* Cancels a thread in a wait and reaps what that one waited for. With no `others`, what is waited for is the
 * host's first child. */
static void cancelled(int others)
{
	char *sleeper[] = { "/bin/sleep", "1000", NULL };
	pid_t pids[4];
	pthread_t thread;
	void *got;
	int status, n = 0;

	for (; n < others; n++)
		pids[n] = start(n % PIDS, sleeper);
	if (strcmp(way, "system") && strcmp(way, "pclose"))
		waited_for = pids[n++] = start(SPAWN, sleeper);
	/* To kill -1 would be to kill all. */
	for (int i = 0; i < n; i++)
		if (pids[i] <= 0)
			die("start");
	begin(&thread, 0, wait_in, NULL);
	nap(100);
	pthread_cancel(thread);
	pthread_join(thread, &got);
	puts(got == PTHREAD_CANCELED ? "cancelled" : "not cancelled");
	while (n-- > 0) {
		kill(pids[n], SIGTERM);
		printf("reaped %d,", waitpid(pids[n], &status, 0) == pids[n]);
		printf(" killed by %d\n", WTERMSIG(status));
	}
	crowd(2 * DOORS, 0);
	printf("then %s\n", wait(NULL) < 0 && errno == ECHILD ? "ECHILD" : "something else");
}

static void *start_in(void *door)
{
	char *argv[] = { getenv("JOB"), "-s", "40", "-x", "9", NULL };

	waited_for = start(*(int *)door, argv);
	pthread_testcancel();
	return NULL;
}

/* A start is no cancellation point, however long it takes. */
static void cancelled_start(void)
{
	char *argv[] = { getenv("JOB"), "-s", "150", NULL };

	for (int door = 0; door < PIDS; door++) {
		pid_t first = start(SPAWN, argv);
		pthread_t thread;
		int status;

		waited_for = 0;
		begin(&thread, 0, start_in, &door);
		nap(50);
		pthread_cancel(thread);
		pthread_join(thread, NULL);
		printf("%s: %s", door_names[door], waited_for > 0 ? "started" : "not started");
		printf(", exit %d", waitpid(waited_for, &status, 0) > 0 ? WEXITSTATUS(status) : -1);
		printf(", %s\n", waitpid(first, &status, 0) == first ? "reaped" : "lost");
	}
}

/* ---- the end of all ----------------------------------------------------------------------------------- */

static void *jobs_then_loop(void *at)
{
	char *argv[] = { getenv("JOB"), "-b", "2", "-s", "20", NULL };
	int n = (int)((int *)at - statuses);

	for (int i = 0; i < 2; i++)
		if (start((n + i) % PIDS, argv) < 0)
			die("start");
	pthread_barrier_wait(&line);
	return loop(at);
}

/* One thread ends the program while the others are in the hooks. */
static int ends(void)
{
	enum { LOOPS = 6 };
	pthread_t threads[LOOPS];

	pthread_barrier_init(&line, NULL, LOOPS + 1);
	for (int n = 0; n < LOOPS; n++)
		begin(&threads[n], 0, jobs_then_loop, &statuses[n]);
	pthread_barrier_wait(&line);
	nap(20);
	if (!strcmp(way, "_exit"))
		_exit(5);
	if (!strcmp(way, "quick_exit"))
		quick_exit(5);
	if (!strcmp(way, "exit"))
		exit(5);
	return 5;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	int (*is)(const char *, const char *) = strcmp;

	setvbuf(stdout, NULL, _IOLBF, 0);
	way = argc > 2 ? argv[2] : "";
	if (!is(mode, "crowd"))
		crowd(CROWD, 0);
	else if (!is(mode, "small-stacks"))
		crowd(2 * DOORS, PTHREAD_STACK_MIN);
	else if (!is(mode, "thieves"))
		thieves();
	else if (!is(mode, "forks"))
		forks();
	else if (!is(mode, "cancelled-first") || !is(mode, "cancelled-beside"))
		cancelled(is(mode, "cancelled-first") ? 2 : 0);
	else if (!is(mode, "cancelled-starts"))
		cancelled_start();
	else if (!is(mode, "ends"))
		return ends();
	else
		return 95;
	wait_for_go();
	puts("end");
	return 5;
}
