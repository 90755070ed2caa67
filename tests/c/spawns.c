/* spawns DOOR CASE COUNT: starts COUNT jobs one after the other by DOOR (posix_spawn, fork, vfork) and reaps
 * each. CASE only: one at a time. CASE token: one beside another that sleeps on and has the implicit slot.
 * What COUNT more of them cost, in system calls or instructions, is the cost of one, COUNT times. Prints the
 * page faults (getrusage(2)) of all jobs but the first: its own and its children's, for which nothing was read from
 * a disk. */
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char *true_argv[] = { "/bin/true", NULL };
static char *sleep_argv[] = { "/bin/sleep", "300", NULL };

static pid_t start(const char *door, char **argv)
{
	pid_t pid = -1;

	if (!strcmp(door, "posix_spawn"))
		return posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) ? -1 : pid;
	pid = door[0] == 'v' ? vfork() : fork();
	if (pid == 0) {
		execve(argv[0], argv, environ);
		_exit(127);
	}
	return pid;
}

struct faults {
	long own, of_children;
};

static struct faults faults(void)
{
	struct rusage own, of_children;

	getrusage(RUSAGE_SELF, &own);
	getrusage(RUSAGE_CHILDREN, &of_children);
	return (struct faults){ own.ru_minflt, of_children.ru_minflt };
}

int main(int argc, char **argv)
{
	pid_t sleeper = 0, pid;
	struct faults before = { 0 }, after;
	int status, count;

	if (argc != 4)
		return 2;
	if (!strcmp(argv[2], "token")) {
		/* With the library the first token starts a guard, which takes its time on a busy machine. */
		sleeper = start(argv[1], sleep_argv);
		waitpid(start(argv[1], true_argv), &status, 0);
		if (getenv("LD_PRELOAD"))
			usleep(300000);
	}
	count = atoi(argv[3]);
	for (int i = 0; i < count; i++) {
		pid = start(argv[1], true_argv);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			return 1;
		if (i == 0)
			before = faults();
	}
	after = faults();
	printf("%ld %ld\n", after.own - before.own, after.of_children - before.of_children);
	if (sleeper > 0) {
		kill(sleeper, SIGKILL);
		waitpid(sleeper, &status, 0);
	}
	return 0;
}
