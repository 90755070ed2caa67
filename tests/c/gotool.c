/* gotool: stands before a tool of Go, and signs the register while it runs. The tools themselves are in $REAL_TOOLS. */
#include "jobs.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	char path[4096];
	int status = 0;
	pid_t pid;

	snprintf(path, sizeof path, "%s%s", getenv("REAL_TOOLS"), slash ? slash : "/");
	/* The question for its version is no job. */
	if (argc > 1 && !strcmp(argv[1], "-V=full")) {
		execv(path, argv);
		return 126;
	}
	sign(1);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(path, argv);
		_exit(126);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	/* So that they meet, however fast the machine is. */
	nap(30);
	sign(0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
