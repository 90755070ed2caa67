/* starts: three jobs at once by each kind of door, and what became of them. */
#include "start.h"

enum { JOBS = 3 };

static const char command[] = "exec $JOB -b 5 -s 30";

static void by_pid(enum door door)
{
	char *argv[] = { "/bin/sh", "-c", (char *)command, NULL };
	pid_t pids[JOBS];

	for (int n = 0; n < JOBS; n++)
		pids[n] = start(door, argv);
	for (int n = 0; n < JOBS; n++) {
		int status = -1;

		if (pids[n] < 0 || waitpid(pids[n], &status, 0) != pids[n])
			die(door_names[door]);
		printf("%s %x\n", door_names[door], status);
	}
}

static void by_stream(void)
{
	FILE *streams[JOBS];

	for (int n = 0; n < JOBS; n++)
		if (!(streams[n] = popen(command, "r")))
			die("popen");
	for (int n = 0; n < JOBS; n++)
		printf("popen %x\n", pclose(streams[n]));
}

int main(void)
{
	for (enum door door = SPAWN; door < PIDS; door++)
		by_pid(door);
	by_stream();
	printf("system %x\n", run(SYSTEM, command));
	if (start(SPAWN, (char *[]){ "/no/such", NULL }) >= 0)
		return 1;
	printf("nothing: %d\n", errno);
	fflush(stdout);
	execlp("sh", "sh", "-c", "exit 5", (char *)NULL);
	return 2;
}
