/* elsewhere: programs that are started in another directory, and found from there.
 *   elsewhere HOW DIR NAME COUNT
 * HOW: chdir or fchdir (file actions of posix_spawnp), open (an action that moves nowhere), none,
 *      fork (chdir, then execvp in the child), vfork (chdir in the host, then execvp). */
#include "start.h"
#include "jobs.h"

static posix_spawn_file_actions_t actions, *used = &actions;

static pid_t forked(const char *how, const char *dir, char **args)
{
	pid_t pid = strcmp(how, "fork") == 0 ? fork() : vfork();

	if (pid == 0) {
		if (strcmp(how, "fork") || chdir(dir) == 0)
			execvp(args[0], args);
		_exit(errno == ENOENT ? 100 : errno == EACCES ? 101 : 102);
	}
	return pid;
}

int main(int argc, char **argv)
{
	pid_t pids[64] = { 0 };
	int n, fd, status;

	if (argc < 5)
		return 96;
	n = atoi(argv[4]);
	fd = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	posix_spawn_file_actions_init(&actions);
	if (strcmp(argv[1], "chdir") == 0)
		posix_spawn_file_actions_addchdir_np(&actions, argv[2]);
	else if (strcmp(argv[1], "fchdir") == 0)
		posix_spawn_file_actions_addfchdir_np(&actions, fd);
	else if (strcmp(argv[1], "open") == 0)
		posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	else
		used = NULL;
	if (strcmp(argv[1], "vfork") == 0 && chdir(argv[2]))
		die("chdir");
	for (int i = 0; i < n; i++) {
		char *args[] = { argv[3], NULL };
		if (strstr(argv[1], "fork")) {
			pids[i] = forked(argv[1], argv[2], args);
			continue;
		}
		errno = posix_spawnp(pids + i, argv[3], used, NULL, args, environ);
		if (errno) {
			printf("error %d\n", errno);
			pids[i] = 0;
		}
	}
	for (int i = 0; i < n; i++)
		if (pids[i]) {
			while (waitpid(pids[i], &status, 0) < 0)
				;
			printf("status %x\n", status);
		}
	return 0;
}
