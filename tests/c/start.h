/* Every kind of door by which a program starts another. */
#ifndef START_H
#define START_H

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum door { SPAWN, SPAWNP, FORK, VFORK, PIDS, SYSTEM = PIDS, POPEN, DOORS };

static const char *const door_names[] = { "posix_spawn", "posix_spawnp", "fork", "vfork", "system", "popen" };

static void die(const char *what)
{
	perror(what);
	_exit(90);
}

/* Starts a program by one of the doors that give a pid; -1 and errno if that fails. */
static inline pid_t start(enum door door, char **argv)
{
	pid_t pid = -1;

	if (door == SPAWN)
		errno = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
	else if (door == SPAWNP)
		errno = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (door == SPAWN || door == SPAWNP)
		return errno ? -1 : pid;
	pid = door == FORK ? fork() : vfork();
	if (pid == 0) {
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

/* Runs a command to its end by any of them; its exit status, or what went wrong. */
static inline int run(enum door door, const char *command)
{
	char *argv[] = { "/bin/sh", "-c", (char *)command, NULL };
	int status = 0;
	FILE *stream;
	pid_t pid;

	if (door == SYSTEM) {
		status = system(command);
	} else if (door == POPEN) {
		stream = popen(command, "re");
		if (!stream)
			return -errno;
		while (fgetc(stream) != EOF)
			;
		status = pclose(stream);
	} else {
		pid = start(door, argv);
		if (pid < 0)
			return -errno;
		while (waitpid(pid, &status, 0) < 0)
			if (errno != EINTR)
				return -errno;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1000 - status;
}

#endif
