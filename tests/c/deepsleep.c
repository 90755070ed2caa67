/* deepsleep: a job in uninterruptible sleep, as if a disk did not answer: its child of vfork(2) waits for
 * a signal, which a timer of its own sends. Meanwhile a thread waits for a pipe that another child has. */
#include "jobs.h"
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

static int ends[2];

static void *reader(void *unused)
{
	char byte;

	if (read(ends[0], &byte, 1) != 0)
		_exit(96);
	return unused;
}

static void sleep_deeply(void)
{
	struct itimerval soon = { .it_value = { 0, 700000 } };

	if (vfork() == 0) {
		signal(SIGALRM, SIG_DFL);
		setitimer(ITIMER_REAL, &soon, NULL);
		for (;;)
			pause();
	}
}

int main(void)
{
	pthread_t thread;
	pid_t child;

	sign(1);
	if (pipe(ends) < 0 || (child = fork()) < 0)
		return 95;
	if (child == 0) {
		close(ends[0]);
		for (;;)
			pause();
	}
	close(ends[1]);
	if (pthread_create(&thread, NULL, reader, NULL) != 0)
		return 94;
	sleep_deeply();
	kill(child, SIGKILL);
	pthread_join(thread, NULL);
	while (wait(NULL) > 0)
		;
	sign(0);
	return 0;
}
