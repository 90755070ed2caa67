/* Six commands beside a seventh, each of which is left to a later wait: `fclose`, unlike `pclose`, waits for none of
 * them in musl. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

int main(void)
{
	FILE *first = popen("exec $JOB -b 5 -s 400", "r");
	int status, n = 0, failed = 0;

	for (int i = 0; i < 6; i++) {
		FILE *stream = popen("exec $JOB -b 5 -s 60", "w");

		if (!stream || fclose(stream) != 0)
			return 1;
	}
	failed += !first || pclose(first) != 0;
	while (wait(&status) > 0 || errno == EINTR) {
		n++;
		failed += status != 0;
	}
	printf("%d ended, %d failed\n", n, failed);
	return 5;
}
