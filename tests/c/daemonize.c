/* daemonize HOW: starts a daemon as servers of compilers do (ccache's storage helpers, sccache, distccd), in one
 * of several ways, has two jobs run meanwhile, and ends. The daemon lives until the make above has ended, which
 * must not wait for it; then it has two more jobs run at once, reaps them, and says so.
 *   fork    a double fork, both sides the same program      daemon  daemon(3)
 *   exec    the same, and the program anew                  spawn   posix_spawn and setsid, and the program anew
 *   stays   as fork, but it keeps what it inherits for a while, as make's manual warns; no jobs
 *   keeps   as fork, with a job before in each process, so that each has the library's own descriptors
 *   nohup   as keeps, but in the session of the build: no daemon, but a job in the background; its last jobs are long
 * It closes what it inherits beyond the standard descriptors: make 4.3 would wait for those of its pool without
 * the library, too. */
#include "jobs.h"
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

static char *nap_ms = "20";

static pid_t start_job(void)
{
	char *argv[] = { getenv("JOB"), "-b", "2", "-s", nap_ms, NULL };
	pid_t pid;

	if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) != 0)
		_exit(90);
	return pid;
}

static void two_jobs(void)
{
	int status;

	start_job();
	start_job();
	for (int i = 0; i < 2; i++)
		if (wait(&status) < 0 || status != 0)
			_exit(91);
}

static int lives(pid_t pid)
{
	char path[64], state = 'X';
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	if (!(f = fopen(path, "r")))
		return 0;
	if (fscanf(f, "%*d %*s %c", &state) != 1)
		state = 'X';
	fclose(f);
	return state != 'Z' && state != 'X';
}

static int serve(pid_t make)
{
	alarm(60);
	if (make)
		close_range(3, ~0U, 0);
	close(open("daemon", O_WRONLY | O_CREAT | O_EXCL, 0600));
	if (!make)
		nap(700);
	while (make && lives(make))
		nap(10);
	if (make)
		two_jobs();
	printf("served\n");
	fflush(stdout);
	return 0;
}

static void fork_away(int with_jobs, int leaves)
{
	for (int i = 0; i < 2; i++) {
		if (with_jobs)
			two_jobs();
		if (fork() > 0)
			_exit(0);
		if (i == 0 && leaves)
			setsid();
	}
	if (with_jobs)
		two_jobs();
}

int main(int argc, char **argv)
{
	pid_t make = atoi(getenv("MAKE_PID")), pid;
	const char *how = argv[1];
	int keeps = argc == 2 && (strcmp(how, "keeps") == 0 || strcmp(how, "nohup") == 0);
	char *again[] = { argv[0], "serve", NULL };
	posix_spawnattr_t attributes;
	struct stat st;

	if (argc != 2)
		return 93;
	if (strcmp(how, "serve") == 0)
		return serve(make);
	if (strcmp(how, "spawn") == 0) {
		posix_spawnattr_init(&attributes);
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
		if (posix_spawn(&pid, argv[0], NULL, &attributes, again, environ) != 0)
			return 94;
	} else if ((pid = fork()) == 0) {
		if (strcmp(how, "daemon") == 0) {
			if (daemon(1, 1) < 0)
				_exit(95);
		} else {
			fork_away(keeps, strcmp(how, "nohup") != 0);
			if (strcmp(how, "nohup") == 0)
				nap_ms = "400";
		}
		if (strcmp(how, "exec") == 0) {
			execv(argv[0], again);
			_exit(96);
		}
		_exit(serve(strcmp(how, "stays") == 0 ? 0 : make));
	}
	if (strcmp(how, "spawn") != 0)
		waitpid(pid, NULL, 0);
	while (stat("daemon", &st) < 0)
		nap(5);
	if (strcmp(how, "spawn") != 0)
		two_jobs();
	return 0;
}
