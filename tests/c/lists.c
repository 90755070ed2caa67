/* lists OCCUPY: execl, execlp and execle with 0 to 20 arguments, each after fork and after vfork; what
 * was exec'ed (this program again, which knows itself by its name in the environment) prints a line.
 * OCCUPY milliseconds (0: none) is how long another child holds the caller's own slot each time. */
#include "jobs.h"
#include "doors.h"
#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

/* In the exec'ed program. An empty list gets an empty name from the kernel (execve(2)). */
static int check(int argc, char **argv, int wanted)
{
	char name[16];
	int right = argc == (wanted ? wanted : 1) && (wanted || !*argv[0]);

	for (int i = 0; i < wanted && i < argc; i++) {
		snprintf(name, sizeof name, "a%d", i);
		right &= !strcmp(argv[i], name);
	}
	printf("%s: %d arguments, %s\n", getenv("LISTS_DOOR"), argc, right ? "right" : "WRONG");
	return right ? wanted : 255;
}

static char self[4096];

/* An empty list is legal and unusual. */
#pragma GCC diagnostic ignored "-Wnonnull"
#pragma GCC diagnostic ignored "-Wformat"

static void go(int door, int count, char **env)
{
	switch (count) {
#define CALL(n, list) \
	case n: \
		if (door == 0) \
			execl(self, list (char *)NULL); \
		else if (door == 1) \
			execlp("lists", list (char *)NULL); \
		else \
			execle(self, list (char *)NULL, env); \
		break;
		EACH_COUNT(CALL)
	}
	_exit(99);
}

static pid_t occupied(char *ms)
{
	char *argv[] = { getenv("JOB"), "-s", ms, NULL };
	pid_t pid = 0;

	if (strcmp(ms, "0") && posix_spawn(&pid, argv[0], NULL, NULL, argv, environ))
		perror("the other child");
	return pid;
}

static void row(int door, int count, int by_vfork, char *ms)
{
	static const char *const names[] = { "execl", "execlp", "execle" };
	char text[64], number[16], *env[256] = { NULL };
	int n = 0, status = 0;
	pid_t other = occupied(ms), pid;

	snprintf(text, sizeof text, "%s after %s", names[door], by_vfork ? "vfork" : "fork");
	snprintf(number, sizeof number, "%d", count);
	setenv("LISTS_DOOR", text, 1);
	setenv("LISTS_COUNT", number, 1);
	for (; environ[n] && n < 255; n++)
		env[n] = environ[n];
	if (door == 2) {
		/* Only the list's own environment says how many. */
		for (int i = 0; i < n; i++)
			if (!strncmp(env[i], "LISTS_COUNT=", 12))
				env[i] = strdup(env[i]);
		setenv("LISTS_COUNT", "77", 1);
	}
	pid = by_vfork ? vfork() : fork();
	if (pid == 0)
		go(door, count, env);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != count)
		printf("%s with %d: status %x\n", text, count, status);
	if (other)
		waitpid(other, NULL, 0);
	unsetenv("LISTS_COUNT");
}

int main(int argc, char **argv)
{
	const char *count = getenv("LISTS_COUNT");
	char path[8192], *slash;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (count)
		return check(argc, argv, atoi(count));
	if (argc < 2 || readlink("/proc/self/exe", self, sizeof self - 1) < 0)
		return 95;
	strcpy(path, self);
	slash = strrchr(path, '/');
	snprintf(slash, sizeof path - (slash - path), ":%s", getenv("PATH"));
	setenv("PATH", path, 1);
	for (int door = 0; door < 3; door++)
		/* An execle of no argument finds no environment in glibc. */
		for (int n = door == 2; n <= MOST; n++)
			for (int by_vfork = 0; by_vfork < 2; by_vfork++)
				row(door, n, by_vfork, argv[1]);
	return 0;
}
