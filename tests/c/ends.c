/* ends MODE: a host that starts four jobs and then ends as MODE says: in the middle of a start, as far as its
 * alarm can tell, or while it waits for its jobs. */
#include "jobs.h"
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

extern char **environ;
static const char *mode;

static int deeper(int n)
{
	volatile char frame[4096];

	frame[n % 4096] = (char)n;
	return n < 0 ? 0 : deeper(n + 1) + frame[n % 4096];
}

static void handler(int sig)
{
	(void)sig;
	if (!strcmp(mode, "handler-exits"))
		_exit(7);
	if (!strcmp(mode, "handler-kills"))
		kill(getpid(), SIGKILL);
	if (!strcmp(mode, "crash"))
		*(volatile int *)8 = 1;
	if (!strcmp(mode, "stack"))
		_exit(deeper(0));
	abort();
}

int main(int argc, char **argv)
{
	struct itimerval soon = { .it_value.tv_usec = 120000 };
	struct rlimit none = { 0, 0 };
	char *job[] = { getenv("JOB"), "-b", "5", "-s", "300", NULL };
	pid_t pid;

	if (argc != 2)
		return 90;
	mode = argv[1];
	setrlimit(RLIMIT_CORE, &none);
	/* An alarm without a handler ends it, too. */
	if (strcmp(mode, "alarm"))
		signal(SIGALRM, handler);
	setitimer(ITIMER_REAL, &soon, NULL);
	for (int n = 0; n < 4; n++)
		if (posix_spawn(&pid, job[0], NULL, NULL, job, environ))
			return 91;
	for (;;)
		wait(NULL);
}
