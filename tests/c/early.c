/* early: a library with a constructor that starts six jobs at once (-DLIBRARY), and the program that needs it. */
#ifdef LIBRARY
#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int early = 0;

__attribute__((constructor)) static void start(void)
{
	char *job = getenv("JOB");

	/* Not in the jobs again. */
	if (getenv("EARLY_BEGUN"))
		return;
	/* Another environment than the kernel's. */
	setenv("EARLY_BEGUN", "yes", 1);
	for (int i = 0; i < 6; i++)
		if (fork() == 0) {
			execl(job, job, "-b", "5", "-s", "60", (char *)NULL);
			_exit(9);
		}
	while (wait(NULL) > 0 || errno == EINTR)
		early++;
}
#else
#include <stdio.h>

extern int early;

int main(void)
{
	printf("%d\n", early);
	return 5;
}
#endif
