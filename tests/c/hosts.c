/* hosts MODE: programs that start eight jobs at once and treat their ends each in its own way.
 * Every host lives on after its jobs until the harness lets it go (wait_for_go). */
#include "jobs.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

enum { JOBS = 8 };

extern char **environ;
static char *job[] = { NULL, "-b", "5", "-s", "50", "-x", NULL, NULL };
static pid_t pids[JOBS];
static int pipes[JOBS];

static void die(const char *what)
{
	perror(what);
	exit(90);
}

/* The n-th job, which exits with n. */
static char **args(int n)
{
	static char number[12];

	job[0] = getenv("JOB");
	snprintf(number, sizeof number, "%d", n);
	job[6] = number;
	return job;
}

static void spawn_all(void)
{
	for (int n = 0; n < JOBS; n++) {
		int e = posix_spawn(&pids[n], getenv("JOB"), NULL, NULL, args(n), environ);

		if (e) {
			errno = e;
			die("posix_spawn");
		}
	}
}

static void fork_all(void)
{
	for (int n = 0; n < JOBS; n++) {
		pids[n] = fork();
		if (pids[n] < 0)
			die("fork");
		if (pids[n] == 0) {
			work(5, 50);
			_exit(n);
		}
	}
}

static void vfork_all(void)
{
	for (int n = 0; n < JOBS; n++) {
		char **argv = args(n);

		pids[n] = vfork();
		if (pids[n] < 0)
			die("vfork");
		if (pids[n] == 0) {
			execv(argv[0], argv);
			_exit(127);
		}
	}
}

static void report(const char *what, int n, pid_t got, int status)
{
	printf("%s %d: %s, exit %d\n", what, n, got == pids[n] ? "its pid" : "another pid",
	       WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static int index_of(pid_t pid)
{
	for (int n = 0; n < JOBS; n++)
		if (pids[n] == pid)
			return n;
	return -1;
}

/* Reaps what has ended; how many that were. */
static int reap_some(void)
{
	int reaped = 0, status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		reaped += WIFEXITED(status) && WEXITSTATUS(status) == index_of(pid);
	return reaped;
}

/* Each way to reap, by turns. */
static void reap_all(void)
{
	for (int n = 0; n < JOBS; n++) {
		struct rusage used = { 0 };
		siginfo_t info = { 0 };
		pid_t got = -1;
		int status = 0, again = 0;

		switch (n % 4) {
		case 0: got = waitpid(pids[n], &status, 0); break;
		case 1: got = wait4(pids[n], &status, 0, &used); break;
		case 2:
			/* A look that leaves it, then the reaping itself. */
			again = waitid(P_PID, pids[n], &info, WEXITED | WNOWAIT);
			if (again || info.si_pid != pids[n])
				die("waitid that leaves");
			if (waitid(P_PID, pids[n], &info, WEXITED))
				die("waitid");
			got = info.si_pid;
			status = info.si_status << 8;
			break;
		case 3:
			while ((got = waitpid(pids[n], &status, WNOHANG)) == 0)
				nap(2);
			break;
		}
		report("job", n, got, status);
		if (n % 4 == 1 && used.ru_utime.tv_sec + used.ru_utime.tv_usec == 0 && used.ru_maxrss == 0)
			printf("job %d has no usage\n", n);
	}
	printf("then %s\n", wait(NULL) < 0 && errno == ECHILD ? "ECHILD" : "something else");
}

/* A tight loop as in samurai: as many as fit, each with its pipe, reaped when its pipe ends. */
static void tight(void)
{
	int started = 0, ended = 0, total = 40;
	size_t bytes = 0;
	struct pollfd fds[JOBS];

	for (int n = 0; n < JOBS; n++)
		fds[n] = (struct pollfd){ .fd = -1, .events = POLLIN };
	while (ended < total) {
		for (int n = 0; n < JOBS && started < total; n++) {
			posix_spawn_file_actions_t actions;
			char *argv[] = { getenv("JOB"), "-b", "5", "-s", "20", "-k", "80", NULL };
			int ends[2];

			if (fds[n].fd >= 0)
				continue;
			if (pipe2(ends, O_CLOEXEC))
				die("pipe2");
			posix_spawn_file_actions_init(&actions);
			posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
			posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
			if (posix_spawn(&pids[n], argv[0], &actions, NULL, argv, environ))
				die("posix_spawn");
			posix_spawn_file_actions_destroy(&actions);
			close(ends[1]);
			fds[n].fd = ends[0];
			started++;
		}
		if (poll(fds, JOBS, -1) < 0)
			die("poll");
		for (int n = 0; n < JOBS; n++) {
			char buffer[8192];
			ssize_t got;
			int status;

			if (!fds[n].revents)
				continue;
			got = read(fds[n].fd, buffer, sizeof buffer);
			if (got > 0) {
				bytes += got;
				continue;
			}
			close(fds[n].fd);
			fds[n].fd = -1;
			if (waitpid(pids[n], &status, 0) != pids[n] || status)
				die("waitpid");
			ended++;
		}
	}
	printf("%d jobs, %zu bytes\n", ended, bytes);
}

/* Gives each job a pipe and never reads from it. */
static void never_drains(void)
{
	for (int n = 0; n < JOBS; n++) {
		posix_spawn_file_actions_t actions;
		char *argv[] = { getenv("JOB"), "-s", "50", "-k", "60", NULL };
		int ends[2];

		if (pipe2(ends, O_CLOEXEC))
			die("pipe2");
		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
		if (posix_spawn(&pids[n], argv[0], &actions, NULL, argv, environ))
			die("posix_spawn");
		posix_spawn_file_actions_destroy(&actions);
		close(ends[1]);
		pipes[n] = ends[0];
	}
}

static void act(int how, int flags, void (*handler)(int))
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	sigemptyset(&sa.sa_mask);
	if (sigaction(how, &sa, NULL))
		die("sigaction");
}

static void block(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(how, &set, NULL);
}

static volatile sig_atomic_t handled;
static int told[2];

static void on_child(int signal)
{
	int saved = errno;

	(void)signal;
	handled += reap_some();
	if (handled == JOBS && write(told[1], "!", 1) != 1)
		_exit(91);
	errno = saved;
}

/* The jobs run while this one sits in a read, which is broken off or not as the flags say. */
static void with_handler(int flags)
{
	int broken = 0;
	ssize_t got;
	char c;

	if (pipe2(told, O_CLOEXEC))
		die("pipe2");
	act(SIGCHLD, flags, on_child);
	spawn_all();
	while ((got = read(told[0], &c, 1)) < 0 && errno == EINTR)
		broken++;
	printf("read %zd, %d handled, %s broken off\n", got, handled, broken ? "was" : "never");
}

static void with_signalfd(void)
{
	int fd, ended = 0, ours = 1;

	block(SIG_BLOCK);
	fd = signalfd(-1, &(sigset_t){ { 1ul << (SIGCHLD - 1) } }, SFD_CLOEXEC);
	if (fd < 0)
		die("signalfd");
	spawn_all();
	while (ended < JOBS) {
		struct signalfd_siginfo info;

		if (read(fd, &info, sizeof info) != sizeof info)
			die("read of signalfd");
		ours &= info.ssi_signo == SIGCHLD && info.ssi_code == CLD_EXITED;
		ours &= index_of(info.ssi_pid) == info.ssi_status;
		ended += reap_some();
	}
	printf("%d ended, %s\n", ended, ours ? "told of our own" : "told of others");
}

static void with_sigwait(void)
{
	int ended = 0, ours = 1;
	sigset_t set;

	block(SIG_BLOCK);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	spawn_all();
	while (ended < JOBS) {
		siginfo_t info;

		if (sigwaitinfo(&set, &info) != SIGCHLD)
			die("sigwaitinfo");
		ours &= info.si_code == CLD_EXITED && index_of(info.si_pid) == info.si_status;
		ended += reap_some();
	}
	printf("%d ended, %s\n", ended, ours ? "told of our own" : "told of others");
}

static void expect_none(void)
{
	wait_for_go();
	printf("wait: %s\n", wait(NULL) < 0 && errno == ECHILD ? "ECHILD" : "something else");
}

static void *two_jobs(void *at)
{
	int first = *(int *)at;

	for (int n = first; n < first + 2; n++) {
		char number[12], *argv[] = { getenv("JOB"), "-b", "5", "-s", "50", "-x", number, NULL };

		snprintf(number, sizeof number, "%d", n);
		if (posix_spawn(&pids[n], argv[0], NULL, NULL, argv, environ))
			die("posix_spawn");
	}
	return NULL;
}

static void with_threads(void)
{
	pthread_t threads[JOBS / 2];
	int firsts[JOBS / 2];

	for (int t = 0; t < JOBS / 2; t++) {
		firsts[t] = 2 * t;
		if (pthread_create(&threads[t], NULL, two_jobs, &firsts[t]))
			die("pthread_create");
	}
	for (int t = 0; t < JOBS / 2; t++)
		pthread_join(threads[t], NULL);
}

static void with_popen(void)
{
	FILE *streams[JOBS];
	char command[64], line[256];

	for (int n = 0; n < JOBS; n++) {
		snprintf(command, sizeof command, "exec $JOB -b 5 -s 50 -k 1 -i j%d -x %d", n, n);
		streams[n] = popen(command, "re");
		if (!streams[n])
			die("popen");
	}
	for (int n = 0; n < JOBS; n++) {
		int lines = 0;

		while (fgets(line, sizeof line, streams[n]))
			lines++;
		printf("popen %d: %d lines, exit %d\n", n, lines, WEXITSTATUS(pclose(streams[n])));
	}
}

/* What the library may have touched on its way, as the host sees it. */
static void state(const char *when)
{
	struct sigaction sa;
	sigset_t mask;
	int fds = 0;

	sigaction(SIGCHLD, NULL, &sa);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int fd = 0; fd < 48; fd++)
		fds += fcntl(fd, F_GETFD) >= 0;
	printf("%s: handler %s, flags %x, blocked %d, %d low descriptors\n", when,
	       sa.sa_handler == SIG_DFL ? "default" : sa.sa_handler == SIG_IGN ? "ignored" : "own",
	       sa.sa_flags & ~0x04000000, sigismember(&mask, SIGCHLD), fds);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	int (*is)(const char *, const char *) = strcmp;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!is(mode, "reaps-at-the-end")) {
		state("before");
		spawn_all();
		state("after");
		wait_for_go();
		reap_all();
	} else if (!is(mode, "forks-without-exec")) {
		state("before");
		fork_all();
		state("after");
		wait_for_go();
		reap_all();
	} else if (!is(mode, "vforks")) {
		state("before");
		vfork_all();
		state("after");
		wait_for_go();
		reap_all();
	} else if (!is(mode, "never-reaps")) {
		spawn_all();
		wait_for_go();
	} else if (!is(mode, "never-drains")) {
		never_drains();
		wait_for_go();
	} else if (!is(mode, "tight-loop")) {
		tight();
		wait_for_go();
	} else if (!is(mode, "ignores-sigchld")) {
		act(SIGCHLD, 0, SIG_IGN);
		spawn_all();
		state("after");
		expect_none();
	} else if (!is(mode, "no-child-wait")) {
		act(SIGCHLD, SA_NOCLDWAIT, SIG_DFL);
		spawn_all();
		state("after");
		expect_none();
	} else if (!is(mode, "signalfd")) {
		with_signalfd();
		wait_for_go();
	} else if (!is(mode, "sigwait")) {
		with_sigwait();
		wait_for_go();
	} else if (!is(mode, "handler")) {
		with_handler(0);
		state("after");
		wait_for_go();
	} else if (!is(mode, "restarting-handler")) {
		with_handler(SA_RESTART);
		state("after");
		wait_for_go();
	} else if (!is(mode, "threads")) {
		with_threads();
		wait_for_go();
		reap_all();
	} else if (!is(mode, "popen")) {
		with_popen();
		wait_for_go();
	} else {
		return 95;
	}
	puts("end");
	return 5;
}
