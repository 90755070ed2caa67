/* invisible KIND...: starts a process in ways of which some do not go through any function that a preloaded
 * library can stand before; each process exits at once. */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wordexp.h>

static int nothing(void *unused)
{
	(void)unused;
	return 0;
}

static pid_t by_clone(void)
{
	static char stack[65536] __attribute__((aligned(16)));

	return clone(nothing, stack + sizeof stack, SIGCHLD, NULL);
}

static pid_t by_system_call(void)
{
	pid_t pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return pid;
}

int main(int argc, char **argv)
{
	wordexp_t words;
	FILE *stream;

	for (int n = 1; n < argc; n++) {
		pid_t pid = 1;

		if (!strcmp(argv[n], "fork")) {
			pid = fork();
			if (pid == 0)
				_exit(0);
		} else if (!strcmp(argv[n], "system")) {
			pid = system("true") ? -1 : 1;
		} else if (!strcmp(argv[n], "popen")) {
			stream = popen("true", "r");
			pid = stream && !pclose(stream) ? 1 : -1;
		} else if (!strcmp(argv[n], "wordexp")) {
			pid = wordexp("$(true)", &words, 0) ? -1 : 1;
		} else if (!strcmp(argv[n], "clone")) {
			pid = by_clone();
		} else if (!strcmp(argv[n], "syscall")) {
			pid = by_system_call();
		}
		if (pid < 0)
			return 90 + n;
		while (wait(NULL) > 0)
			;
	}
	return 0;
}
