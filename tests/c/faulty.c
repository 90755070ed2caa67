/* faulty: a host that goes through each kind of door with three jobs at once, and says what became of them.
 * It looks at what it must find as it was: descriptors, signal mask and actions, timers. So do its jobs. */
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOBS = 3, NAP = 6 };

extern char **environ;
static char *self, before[1024];

/* Few calls, so that an injector of faults has little to do; no more at once than a small RLIMIT_NOFILE. */
static void note_descriptors(char *open)
{
	enum { PART = 4 };

	for (int first = 0; first < 1024; first += PART) {
		struct pollfd part[PART];

		for (int i = 0; i < PART; i++)
			part[i] = (struct pollfd){ .fd = first + i };
		poll(part, PART, 0);
		for (int i = 0; i < PART; i++)
			open[first + i] = !(part[i].revents & POLLNVAL);
	}
}

static const char *file_of(int fd)
{
	static char path[512];
	char link[32];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	path[n < 0 ? 0 : n] = 0;
	return path;
}

/* A pool of the library's own making may stay open: a file of its folder. */
static int is_pool(int fd)
{
	return strstr(file_of(fd), "/pool-") != NULL;
}

/* What of the signals is not as at a start; 0: nothing. */
static int changed(void)
{
	struct sigaction action;
	struct itimerval left;
	sigset_t set;

	sigprocmask(SIG_SETMASK, NULL, &set);
	for (int s = 1; s < 65; s++)
		if (s != 32 && s != 33 && sigismember(&set, s))
			return 1;
	sigpending(&set);
	if (sigismember(&set, SIGURG))
		return 2;
	sigaction(SIGURG, NULL, &action);
	if (action.sa_handler != SIG_DFL)
		return 3;
	getitimer(ITIMER_REAL, &left);
	return left.it_value.tv_sec || left.it_value.tv_usec ? 4 : 0;
}

static void nap(long ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&left, &left) < 0)
		;
}

/* The job number n. Its status tells. */
static int job(int n)
{
	int wrong = changed();
	char now[1024];

	note_descriptors(now);
	for (int fd = 5; !wrong && fd < 1024; fd++)
		if (now[fd] && !before[fd] && !is_pool(fd)) {
			fprintf(stderr, "job: descriptor %d, %s\n", fd, file_of(fd));
			wrong = 5;
		}
	nap(NAP);
	return wrong ? 70 + wrong : n;
}

static char **args(int n)
{
	static char number[12], *argv[] = { NULL, "job", number, NULL };

	snprintf(number, sizeof number, "%d", n);
	argv[0] = self;
	return argv;
}

static pid_t by_spawn(int n)
{
	pid_t pid = -1;
	int error = posix_spawn(&pid, self, NULL, NULL, args(n), environ);

	if (error)
		printf("posix_spawn: %s\n", strerror(error));
	return pid;
}

static pid_t by_fork(int n)
{
	pid_t pid = fork();

	if (pid == 0) {
		execv(self, args(n));
		_exit(60);
	}
	return pid;
}

static pid_t by_vfork(int n)
{
	char **argv = args(n);
	pid_t pid = vfork();

	if (pid == 0) {
		execv(self, argv);
		_exit(61);
	}
	return pid;
}

static pid_t by_worker(int n)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(job(n));
	return pid;
}

static void collect(const char *name, const pid_t *pids)
{
	for (int n = 0; n < JOBS; n++) {
		int status = -1;
		pid_t got;

		if (pids[n] < 0) {
			printf("%s %d: not started\n", name, n);
			continue;
		}
		got = waitpid(pids[n], &status, 0);
		printf("%s %d: %s %x\n", name, n, got == pids[n] ? "status" : "not collected", status);
	}
	fflush(stdout);
}

static void each(const char *name, pid_t (*start)(int))
{
	pid_t pids[JOBS];

	for (int n = 0; n < JOBS; n++)
		pids[n] = start(n);
	collect(name, pids);
}

/* Beside a job: what libc starts and collects in one call, and what does not come to be. */
static void beside(void)
{
	char *nothing[] = { "/no/such/program", NULL }, line[32] = "";
	pid_t pids[JOBS] = { by_spawn(0), by_spawn(1) };
	FILE *stream;
	pid_t pid;

	printf("system: %x\n", system("exit 3"));
	if ((stream = popen("echo read; exit 4", "r"))) {
		if (!fgets(line, sizeof line, stream))
			line[0] = 0;
		printf("popen: %s pclose: %x\n", line, pclose(stream));
	}
	printf("nothing: %s\n", strerror(posix_spawn(&pid, nothing[0], NULL, NULL, nothing, environ)));
	pids[2] = by_vfork(2);
	collect("beside", pids);
}

/* A client of its own, below this one. */
static pid_t by_client(int n)
{
	char *argv[] = { self, "client", NULL };
	pid_t pid = -1;

	(void)n;
	posix_spawn(&pid, self, NULL, NULL, argv, environ);
	return pid;
}

static int client(void)
{
	pid_t pids[] = { by_spawn(1), by_fork(2) };
	int status, sum = 0;

	for (int n = 0; n < 2; n++)
		if (pids[n] > 0 && waitpid(pids[n], &status, 0) > 0)
			sum += WEXITSTATUS(status);
	return sum;
}

static void finish(void)
{
	char after[1024];
	int wrong = changed();

	if (wrong)
		printf("signals: %d\n", wrong);
	note_descriptors(after);
	for (int fd = 0; fd < 1024; fd++)
		if (after[fd] && !before[fd] && !is_pool(fd))
			printf("descriptor %d was not there before\n", fd);
		else if (before[fd] && !after[fd])
			printf("descriptor %d is not there any more\n", fd);
}

int main(int argc, char **argv)
{
	self = argv[0];
	note_descriptors(before);
	if (argc > 2 && strcmp(argv[1], "job") == 0) {
		memset(before, 0, sizeof before);
		return job(atoi(argv[2]));
	}
	if (argc > 1 && strcmp(argv[1], "client") == 0)
		return client();
	/* What this host was given beyond the pool is not for its jobs. */
	syscall(SYS_close_range, 5, ~0U, CLOSE_RANGE_CLOEXEC);
	each("spawn", by_spawn);
	each("fork", by_fork);
	each("vfork", by_vfork);
	each("worker", by_worker);
	each("worker", by_worker);
	beside();
	each("client", by_client);
	finish();
	return 5;
}
