/* Two jobs at once, found along the search path that libc has where there is no PATH. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int status;

	if (argc < 2)
		return 1;
	for (int i = 0; i < 2; i++)
		if (fork() == 0) {
			execlp(argv[1], argv[1], "-b", "5", "-s", "60", (char *)NULL);
			printf("%s\n", strerror(errno));
			fflush(stdout);
			_exit(9);
		}
	while (wait(&status) > 0 || errno == EINTR) {
		printf("%x\n", status);
		fflush(stdout);
	}
	return 0;
}
