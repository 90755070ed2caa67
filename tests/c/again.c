/* again: programs that have no name of their own any more, or are started by a descriptor.
 *   again keep|delete     starts itself by /proc/self/exe, with its name or without it
 *   again descriptor DIR  by fexecve and execveat of DIR/job
 *   again share DIR       by clone(2) with CLONE_FILES; then counts its own descriptors
 *   again job             is one of the jobs */
#include "start.h"
#include "jobs.h"
#include <sched.h>
#include <sys/syscall.h>

static const char *dir;
static int shared;

static void child(const char *what, int i)
{
	char *self[] = { "self", "job", NULL }, *job[] = { "job", "-s", "100", NULL };
	char path[5000];
	int fd;

	if (strcmp(what, "share") == 0)
		execv(getenv("JOB"), job);
	if (strcmp(what, "descriptor")) {
		execv("/proc/self/exe", self);
		_exit(100);
	}
	snprintf(path, sizeof path, "%s/job", dir);
	fd = open(i % 2 ? path : dir, O_RDONLY | O_CLOEXEC);
	if (i % 2)
		fexecve(fd, job, environ);
	else
		execveat(fd, "job", job, environ, 0);
	_exit(101);
}

static int cloned(void *i)
{
	child("share", *(int *)i);
	return 102;
}

static int count(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int main(int argc, char **argv)
{
	static char stacks[6][65536] __attribute__((aligned(16)));
	int status, flags[] = { CLONE_FILES, CLONE_FILES | CLONE_VM | CLONE_VFORK };
	pid_t pids[6];

	if (argc < 2)
		return 96;
	if (strcmp(argv[1], "job") == 0) {
		sign(1);
		nap(100);
		sign(0);
		return 0;
	}
	dir = argc > 2 ? argv[2] : ".";
	if (strcmp(argv[1], "delete") == 0 && unlink(argv[0]))
		die("unlink");
	shared = count();
	for (int i = 0; i < 6; i++) {
		if (strcmp(argv[1], "share") == 0)
			pids[i] = clone(cloned, stacks[i] + sizeof *stacks, flags[i % 2] | SIGCHLD, &i);
		else if ((pids[i] = fork()) == 0)
			child(argv[1], i);
		if (pids[i] < 0)
			die("fork");
		if (strcmp(argv[1], "share") == 0)
			nap(20);
	}
	for (int i = 0; i < 6; i++) {
		while (waitpid(pids[i], &status, 0) < 0)
			;
		printf("%x\n", status);
	}
	printf("%d more open\n", count() - shared);
	return 0;
}
