/* siblings HOW: eight jobs, each made by a child that clones it as its own sibling (CLONE_PARENT, clone(2)) and ends,
 * as the sandboxes of nix-build and of containers do. The host collects every child where it comes; then the jobs.
 *   plain     with memory of its own           vfork    on the child's memory until it execs
 *   lives     the child lives on for a while   worker   the job does not exec
 *   space     in a PID namespace of its own (needs root) */
#include "jobs.h"
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

static int job(void *data)
{
	char *argv[] = { getenv("JOB"), "-b", "5", "-s", "60", NULL };

	if (!strcmp(data, "worker")) {
		work(5, 60);
		return 0;
	}
	execv(argv[0], argv);
	_exit(127);
}

static void child(char *how)
{
	char *stack = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int flags = CLONE_PARENT | SIGCHLD, pid;

	if (!strcmp(how, "vfork"))
		flags |= CLONE_VM | CLONE_VFORK;
	if (!strcmp(how, "space"))
		flags |= CLONE_NEWPID;
	pid = clone(job, stack + (1 << 16), flags, how);
	if (!strcmp(how, "lives"))
		nap(20);
	_exit(pid < 0);
}

int main(int argc, char **argv)
{
	int status, wrong = 0, jobs = 0;
	pid_t pid;

	if (argc != 2)
		return 2;
	for (int i = 0; i < 8; i++) {
		pid = fork();
		if (!pid)
			child(argv[1]);
		if (waitpid(pid, &status, 0) != pid || status)
			wrong++;
	}
	while (wait(&status) > 0) {
		wrong += status != 0;
		jobs++;
	}
	printf("%d jobs, %d wrong\n", jobs, wrong);
	return wrong != 0;
}
