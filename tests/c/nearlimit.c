/* nearlimit: programs whose arguments and environment take all that the kernel gives them, less a few bytes.
 *   nearlimit DOOR LESS WHAT COUNT
 * DOOR: posix_spawn, posix_spawnp, fork, vfork, popen, system. WHAT: argv or envp is filled up, of a binary; or
 * `script`: envp, of a script with an argument in its first line. */
#include "start.h"
#include "jobs.h"
#include <sys/resource.h>
#include <sys/stat.h>

/* As execve(2) counts. */
static size_t size(char **list)
{
	size_t sum = 0;

	for (; *list; list++)
		sum += strlen(*list) + 1 + sizeof *list;
	return sum;
}

/* Fills a list up to this size from place `at` on. */
static void fill(char **list, int at, size_t bytes)
{
	const size_t most = 100000;

	while (bytes > sizeof *list + 4) {
		size_t part = bytes - sizeof *list - 1 > most ? most : bytes - sizeof *list - 1;
		if (bytes - (part + 1 + sizeof *list) < 32 && part == most)
			part -= 64;
		list[at] = malloc(part + 1);
		memset(list[at], 'x', part);
		memcpy(list[at], "F=", 2);
		list[at][part] = 0;
		bytes -= part + 1 + sizeof *list;
		at++;
	}
	list[at] = NULL;
}

static pid_t begin(const char *door, const char *path, char **args, char **envp)
{
	pid_t pid = -1;

	if (strcmp(door, "posix_spawn") == 0)
		errno = posix_spawn(&pid, path, NULL, NULL, args, envp);
	else if (strcmp(door, "posix_spawnp") == 0)
		errno = posix_spawnp(&pid, path, NULL, NULL, args, envp);
	else if ((pid = strcmp(door, "fork") == 0 ? fork() : vfork()) == 0) {
		execve(path, args, envp);
		_exit(errno == E2BIG ? 100 : 101);
	}
	if (pid < 0)
		die(door);
	return pid;
}

int main(int argc, char **argv)
{
	static char *args[100], *envp[100];
	const char *door = argv[1], *names[] = { "PATH", "JSSHIM_TEST_JOBS", "JSSHIM_TEST_ID", "JOB" };
	char *path = realpath(getenv("JOB"), NULL), cwd[4000], script[4200];
	int n = atoi(argv[4]), status, used = 0, shell = 0;
	size_t limit, fixed;
	struct rlimit stack;
	pid_t pids[32];
	FILE *streams[32];

	if (argc < 5 || !getcwd(cwd, sizeof cwd))
		return 96;
	getrlimit(RLIMIT_STACK, &stack);
	limit = stack.rlim_cur / 4 - atoi(argv[2]);
	for (int i = 0; i < 4; i++)
		if (asprintf(&envp[used++], "%s=%s", names[i], getenv(names[i])) < 0)
			return 95;
	if (strcmp(door, "popen") == 0 || strcmp(door, "system") == 0) {
		shell = 1;
		args[0] = "sh", args[1] = "-c", args[2] = "exec $JOB -s 100";
		fixed = sizeof "/bin/sh";
	} else {
		args[0] = "job", args[1] = "-s", args[2] = "100";
		fixed = strlen(path) + 1;
	}
	if (strcmp(argv[3], "script") == 0) {
		FILE *f = fopen("script", "we");
		fprintf(f, "#!/bin/sh -u\nexec $JOB -s 100\n");
		fclose(f);
		chmod("script", 0755);
		snprintf(script, sizeof script, "%s/script", cwd);
		path = script;
		/* Its name in place of the first, its interpreter twice, the argument; and two more pointers are not
		 * counted. */
		fixed = 2 * (strlen(path) + 1) + 2 * sizeof "/bin/sh" + sizeof "-u" - sizeof "job";
	}
	if (strcmp(argv[3], "argv") == 0)
		fill(args, 3, limit - fixed - size(args) - size(envp));
	else
		fill(envp, used, limit - fixed - size(args) - size(envp));
	for (int i = 0; i < n; i++) {
		if (shell) {
			environ = envp;
			streams[i] = strcmp(door, "popen") == 0 ? popen(args[2], "re") : NULL;
			if (!streams[i])
				printf("system: %x\n", system(args[2]));
			continue;
		}
		pids[i] = begin(door, path, args, envp);
	}
	for (int i = 0; i < n; i++) {
		if (shell) {
			if (streams[i])
				printf("popen: %x\n", pclose(streams[i]));
			continue;
		}
		while (waitpid(pids[i], &status, 0) < 0)
			;
		printf("%x\n", status);
	}
	return 0;
}
