/* leaves: forks workers, of which the last is held in its fork(2) until a handler jumps out of there. */
#include "jobs.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>

static sigjmp_buf back;

static void leave(int unused)
{
	(void)unused;
	siglongjmp(back, 1);
}

static int sleeps(pid_t pid)
{
	char path[64], state = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	if (!(f = fopen(path, "r")) || fscanf(f, "%*d %*s %c", &state) != 1)
		_exit(95);
	fclose(f);
	return state == 'S';
}

int main(void)
{
	pid_t pid = 0;
	int status, sum = 0;

	signal(SIGUSR1, leave);
	for (volatile int i = 0; i < 3; i++) {
		if (sigsetjmp(back, 1) == 0)
			pid = fork();
		else
			pid = 0;
		if (pid == 0) {
			/* The first one stays until the last one has left. */
			work(2, 0);
			if (i == 0)
				wait_for_go();
			_exit(1);
		}
		nap(50);
	}
	for (int seen = 0; seen < 5; nap(20))
		seen = sleeps(pid) ? seen + 1 : 0;
	kill(pid, SIGUSR1);
	waitpid(pid, &status, 0);
	close(open(getenv("JSSHIM_TEST_GO"), O_WRONLY | O_CREAT, 0600));
	for (int i = 0; i < 2; i++) {
		wait(&status);
		sum += WEXITSTATUS(status);
	}
	return sum != 2;
}
