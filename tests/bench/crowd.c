/* crowd: many jobs and clients, for scripts/bench. Times are CLOCK_MONOTONIC in ns.
 *   host COUNT SECONDS WIDTH MICROS LOG
 *           keeps WIDTH jobs going until COUNT were started, or for SECONDS if that is not 0; prints its wall
 *           time, the processor time of itself and of its children (us), and their context switches
 *   job MICROS LOG HOST ASKED
 *           sleeps so long; appends "HOST ASKED STARTED ENDED" to LOG, unless that is "-"
 *   token FIFO COUNT COMMAND...
 *           COUNT times: starts COMMAND, which waits for a token, in a group of its own; writes one; prints how
 *           long after that COMMAND has printed a time, its first output, that time being when it runs
 *   poll FIFO
 *           a client that polls for a token and then runs "now", as a command for "token"
 *   stay    stays until its parent ends
 *   now     prints the time */
#define PROGRAM "crowd"
#include "common.h"
#include <sys/prctl.h>

static void doze(long micros)
{
	struct timespec t = { micros / 1000000, micros % 1000000 * 1000 };

	while (micros > 0 && nanosleep(&t, &t) && errno == EINTR)
		;
}

static pid_t spawn(char **argv, posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes)
{
	pid_t pid;

	errno = posix_spawn(&pid, argv[0], actions, attributes, argv, environ);
	if (errno)
		die(argv[0]);
	return pid;
}

static long long micros(struct rusage *u)
{
	return (u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1000000LL + u->ru_utime.tv_usec + u->ru_stime.tv_usec;
}

static void host(char *self, long count, long seconds, int width, char *nap, char *log)
{
	long long from = now(), until = from + seconds * 1000000000LL;
	char id[16], asked[32], *argv[] = { self, "job", nap, log, id, asked, NULL };
	struct rusage mine, theirs;
	int running = 0, status;

	snprintf(id, sizeof id, "%d", getpid());
	while (running || (seconds ? now() < until : count > 0)) {
		if (running < width && (seconds ? now() < until : count-- > 0)) {
			snprintf(asked, sizeof asked, "%lld", now());
			spawn(argv, NULL, NULL);
			running++;
			continue;
		}
		if (wait(&status) < 0 || status)
			die("a job failed");
		running--;
	}
	getrusage(RUSAGE_SELF, &mine);
	getrusage(RUSAGE_CHILDREN, &theirs);
	printf("%lld %lld %lld %ld\n", now() - from, micros(&mine), micros(&theirs), theirs.ru_nvcsw + theirs.ru_nivcsw);
}

static void job(long nap, const char *log, const char *id, const char *asked)
{
	long long started = now();
	char line[128];
	int fd, len;

	doze(nap);
	if (!strcmp(log, "-"))
		return;
	len = snprintf(line, sizeof line, "%s %s %lld %lld\n", id, asked, started, now());
	fd = open(log, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0 || write(fd, line, len) != len)
		die(log);
}

static void token(const char *fifo, int count, char **command)
{
	int fd = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC), told[2];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;

	if (fd < 0 || pipe2(told, O_CLOEXEC))
		die(fifo);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, told[1], 1);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
	while (count-- > 0) {
		struct pollfd answer = { told[0], POLLIN, 0 }, back = { fd, POLLIN, 0 };
		char text[256] = "", byte = '+';
		pid_t pid = spawn(command, &actions, &attributes);
		long long from;
		int n = 0;

		if (poll(&answer, 1, 150) != 0) {
			errno = EPROTO;
			die("it did not wait");
		}
		from = now();
		if (write(fd, &byte, 1) != 1)
			die("no token could be given");
		while (!strchr(text, '\n') && poll(&answer, 1, 5000) == 1)
			n += read(told[0], text + n, sizeof text - 1 - n);
		printf("%lld\n", atoll(text + strcspn(text, "0123456789")) - from);
		kill(-pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		/* The library's guard gives the token back a little later. What others leave goes before the next. */
		poll(&back, 1, 1200);
		while (read(fd, &byte, 1) == 1)
			;
		while (poll(&answer, 1, 0) == 1 && read(told[0], text, sizeof text) > 0)
			;
	}
}

static void wait_by_poll(char *self, const char *fifo)
{
	int fd = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	char *argv[] = { self, "now", NULL }, byte;
	struct pollfd pool = { fd, POLLIN, 0 };

	while (read(fd, &byte, 1) != 1)
		poll(&pool, 1, -1);
	waitpid(spawn(argv, NULL, NULL), NULL, 0);
	if (write(fd, &byte, 1) != 1)
		die(fifo);
}

int main(int argc, char **argv)
{
	const char *role = argc > 1 ? argv[1] : "";
	char *self = realpath("/proc/self/exe", NULL);

	if (!strcmp(role, "host") && argc == 7)
		host(self, atol(argv[2]), atol(argv[3]), atoi(argv[4]), argv[5], argv[6]);
	else if (!strcmp(role, "job") && argc == 6)
		job(atol(argv[2]), argv[3], argv[4], argv[5]);
	else if (!strcmp(role, "token") && argc > 4)
		token(argv[2], atoi(argv[3]), argv + 4);
	else if (!strcmp(role, "poll") && argc == 3)
		wait_by_poll(self, argv[2]);
	else if (!strcmp(role, "stay"))
		for (prctl(PR_SET_PDEATHSIG, SIGKILL); getppid() > 1; )
			sleep(1);
	else if (!strcmp(role, "now"))
		printf("%lld\n", now());
	else
		return 2;
	return fflush(stdout) ? 1 : 0;
}
