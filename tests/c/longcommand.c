/* longcommand: commands of so many bytes for the shell.
 *   longcommand DOOR BYTES FILL COUNT
 * DOOR: popen (all at once), threads (popen in a thread each), system (in a thread each).
 * FILL: what a comment behind the command is filled up with. */
#include "start.h"
#include <pthread.h>

static char *command;
static const char *door;
static int bad;

static void *one(void *stream)
{
	char line[100] = "";
	int status;

	if (strcmp(door, "system") == 0) {
		status = system(command);
	} else {
		FILE *f = stream ? stream : popen(command, "re");
		if (!f)
			die("popen");
		if (!fgets(line, sizeof line, f) || strcmp(line, "ok\n"))
			__atomic_fetch_add(&bad, 1, __ATOMIC_RELAXED);
		status = pclose(f);
	}
	if (status != 3 << 8)
		__atomic_fetch_add(&bad, 1, __ATOMIC_RELAXED);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[32];
	FILE *streams[32];
	size_t bytes, len;
	int n;

	if (argc < 5)
		return 96;
	door = argv[1], bytes = strtoul(argv[2], NULL, 10), n = atoi(argv[4]);
	command = malloc(bytes + 1);
	len = sprintf(command, "$JOB -s 100; echo ok; exit 3 #");
	while (len < bytes)
		for (const char *f = argv[3]; *f && len < bytes; f++)
			command[len++] = *f;
	command[len] = 0;
	if (strcmp(door, "popen") == 0) {
		for (int i = 0; i < n; i++)
			if (!(streams[i] = popen(command, "re")))
				die("popen");
		for (int i = 0; i < n; i++)
			one(streams[i]);
	} else {
		for (int i = 0; i < n; i++)
			if (pthread_create(threads + i, NULL, one, NULL))
				die("thread");
		for (int i = 0; i < n; i++)
			pthread_join(threads[i], NULL);
	}
	printf("bad %d\n", bad);
	return 0;
}
