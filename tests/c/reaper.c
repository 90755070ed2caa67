/* reaper: a job that collects the children which it has from before its exec, and tells how many. */
#include "jobs.h"
#include <sys/wait.h>

int main(void)
{
	int n = 0;

	work(5, 60);
	while (wait(NULL) > 0)
		n++;
	printf("%d\n", n);
	return 0;
}
