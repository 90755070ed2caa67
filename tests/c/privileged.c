/* privileged: says what it may, starts three jobs at once by different doors, and tells what their environment has of
 * the library's, and of make's, words. Also with a "show" before: what it was given itself. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int is_told(const char *word)
{
	static const char *const names[] = { "JSSHIM_", "MAKEFLAGS", "LD_PRELOAD" };

	for (int i = 0; i < 3; i++)
		if (!strncmp(word, names[i], strlen(names[i])) && strncmp(word, "JSSHIM_TEST", 11))
			return 1;
	return 0;
}

static int show(void)
{
	for (char **word = environ; *word; word++)
		if (is_told(*word))
			printf("%.30s\n", *word);
	return 0;
}

int main(int argc, char **argv)
{
	char *again[] = { argv[0], "show", NULL };
	pid_t pid;
	int status;

	if (argc > 1)
		return show();
	printf("secure %d, real %d, effective %d, group %d\n", getauxval(AT_SECURE) != 0, getuid() != 0, geteuid() != 0,
	       getegid() != 0);
	fflush(stdout);
	for (int n = 0; n < 2; n++) {
		if (fork() == 0) {
			execv(argv[0], again);
			_exit(127);
		}
		if (posix_spawn(&pid, argv[0], NULL, NULL, again, environ))
			return 1;
		printf("system %x\n", system("exec sleep 0.05"));
		fflush(stdout);
	}
	while ((pid = wait(&status)) > 0)
		if (status)
			printf("status %x\n", status);
	return 5;
}
