/* gone: programs that are deleted, replaced or moved as soon as they have been started.
 *   gone DOOR HOW KIND COUNT
 * DOOR: posix_spawn, posix_spawnp, vfork, or fork (whose child tells of its exec by a pipe that closes).
 * HOW: delete, replace, or rename (the folder, with another one in its place).
 * KIND: binary, script, or text (without #!); by the latter two doors of the p kind.
 * Each program is in a folder of its own. A script is left its time to be opened. */
#include "start.h"
#include "jobs.h"
#include <limits.h>
#include <sys/stat.h>

static const char *door, *how, *kind;

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	if (!f || fputs(text, f) < 0 || fclose(f) || chmod(path, 0755))
		die(path);
}

static void make(const char *path)
{
	char line[PATH_MAX + 100];

	if (strcmp(kind, "binary") == 0) {
		snprintf(line, sizeof line, "cp $JOB %s", path);
		if (system(line))
			die("cp");
		return;
	}
	snprintf(line, sizeof line, "%sexec $JOB -s 900 -k 1 -i RIGHT\n",
		 strcmp(kind, "script") == 0 ? "#!/bin/sh\n" : "");
	write_file(path, line);
}

static pid_t begin(const char *path)
{
	char *argv[] = { "prog", "-s", "400", "-k", "1", "-i", "RIGHT", NULL };
	int search = strcmp(kind, "text") == 0, ends[2], n;
	pid_t pid = -1;
	char c;

	if (strcmp(door, "posix_spawn") == 0) {
		errno = posix_spawn(&pid, path, NULL, NULL, argv, environ);
	} else if (strcmp(door, "posix_spawnp") == 0) {
		errno = posix_spawnp(&pid, "prog", NULL, NULL, argv, environ);
	} else if (strcmp(door, "vfork") == 0) {
		pid = vfork();
		if (pid == 0) {
			search ? execvp("prog", argv) : execv(path, argv);
			_exit(127);
		}
	} else {
		if (pipe2(ends, O_CLOEXEC))
			die("pipe");
		pid = fork();
		if (pid == 0) {
			search ? execvp("prog", argv) : execv(path, argv);
			_exit(127);
		}
		close(ends[1]);
		while ((n = read(ends[0], &c, 1)) != 0)
			if (n < 0 && errno != EINTR)
				die("read");
		close(ends[0]);
	}
	if (pid < 0)
		die(door);
	return pid;
}

static void take_away(const char *dir, const char *path)
{
	char other[PATH_MAX];

	if (strcmp(how, "delete") == 0) {
		if (unlink(path) || rmdir(dir))
			die("rmdir");
		return;
	}
	snprintf(other, sizeof other, "%s-moved", strcmp(how, "replace") == 0 ? path : dir);
	if (rename(strcmp(how, "replace") == 0 ? path : dir, other))
		die("rename");
	mkdir(dir, 0755);
	write_file(path, "#!/bin/sh\necho WRONG\n");
}

int main(int argc, char **argv)
{
	char cwd[PATH_MAX / 2], dir[PATH_MAX], path[PATH_MAX + 8], *old = strdup(getenv("PATH"));
	pid_t pids[64];
	int n, status;

	if (argc < 5 || !getcwd(cwd, sizeof cwd))
		return 96;
	door = argv[1], how = argv[2], kind = argv[3], n = atoi(argv[4]);
	for (int i = 0; i < n; i++) {
		snprintf(dir, sizeof dir, "%s/dir%d", cwd, i);
		snprintf(path, sizeof path, "%s/prog", dir);
		mkdir(dir, 0755);
		make(path);
	}
	for (int i = 0; i < n; i++) {
		snprintf(dir, sizeof dir, "%s/dir%d", cwd, i);
		snprintf(path, sizeof path, "%s:%s", dir, old);
		setenv("PATH", path, 1);
		snprintf(path, sizeof path, "%s/prog", dir);
		pids[i] = begin(path);
		if (strcmp(kind, "binary") == 0)
			take_away(dir, path);
	}
	if (strcmp(kind, "binary")) {
		nap(600);
		for (int i = 0; i < n; i++) {
			snprintf(dir, sizeof dir, "%s/dir%d", cwd, i);
			snprintf(path, sizeof path, "%s/prog", dir);
			take_away(dir, path);
		}
	}
	for (int i = 0; i < n; i++) {
		while (waitpid(pids[i], &status, 0) < 0)
			;
		printf("%d: %x\n", i, status);
	}
	return 0;
}
