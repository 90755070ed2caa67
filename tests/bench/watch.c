/* watch: what the processes below a command do, for scripts/bench. Times are ns.
 *   run SECONDS COMMAND...
 *           runs a command and looks at all that is below it a hundred times a second; prints its wait status, its
 *           wall time, how many looks there were, in how many of them nothing ran, and from 0 on in how many so
 *           many processes had been running since the look before. What is left after SECONDS, or after the
 *           command, is killed; then the status is -1, or as it was. The library's own processes do not count.
 *   burn MS   uses so much processor time
 *   pairs N   writes a byte into a pipe and reads it, N times; prints the processor time of one */
#define PROGRAM "watch"
#include "common.h"
#include <dirent.h>
#include <sys/prctl.h>

enum { MOST = 4096, LEVELS = 64, LOOK_MS = 10 };

/* The tree below us, and who of it ran at the last look. */
static pid_t tree[MOST], ran[MOST];
static int count, ran_count;

static void doze(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static int slurp(char *buf, int size, const char *format, int pid, const char *name)
{
	char path[64];
	int fd, n;

	snprintf(path, sizeof path, format, pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, size - 1);
	if (fd >= 0)
		close(fd);
	buf[n < 0 ? 0 : n] = 0;
	return n;
}

/* Does the thread run, or wait for a disk? Adds its children; tells in *threads how many its process has. */
static int look_at_thread(pid_t pid, const char *thread, int *threads)
{
	char text[4096], *state;
	int runs = 0;

	if (slurp(text, sizeof text, "/proc/%d/task/%s/stat", pid, thread) > 0 && (state = strrchr(text, ')'))) {
		runs = strchr("RD", state[2]) && !strstr(text, "(jsshim-");
		sscanf(state, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d", threads);
	}
	slurp(text, sizeof text, "/proc/%d/task/%s/children", pid, thread);
	for (char *word = strtok(text, " "); word && count < MOST; word = strtok(NULL, " "))
		tree[count++] = atoi(word);
	return runs;
}

static int look_at(pid_t pid)
{
	char path[64], first[16];
	struct dirent *entry;
	int threads = 1, runs;
	DIR *tasks;

	snprintf(first, sizeof first, "%d", pid);
	runs = look_at_thread(pid, first, &threads);
	if (threads < 2)
		return runs;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, first))
			runs |= look_at_thread(pid, entry->d_name, &threads);
	if (tasks)
		closedir(tasks);
	return runs;
}

/* Returns how many run, and in *stayed how many of them did at the last look, too. */
static int look(int *stayed)
{
	static pid_t run[MOST];
	int n = 0;

	*stayed = count = 0;
	look_at(getpid());
	for (int i = 0; i < count; i++) {
		if (!look_at(tree[i]))
			continue;
		run[n++] = tree[i];
		for (int k = 0; k < ran_count; k++)
			*stayed += ran[k] == tree[i];
	}
	memcpy(ran, run, n * sizeof *run);
	ran_count = n;
	return n;
}

static int is_the_librarys(pid_t pid)
{
	char text[32];

	return slurp(text, sizeof text, "/proc/%d/%s", pid, "comm") > 0 && !strncmp(text, "jsshim-", 7);
}

/* The library's own processes give back what the others had, and end of themselves, if they can. */
static void kill_all(void)
{
	int stayed;

	for (int tries = 0; tries < 1500; tries++) {
		look(&stayed);
		for (int i = 0; i < count; i++)
			if (tries > 1000 || !is_the_librarys(tree[i]))
				kill(tree[i], SIGKILL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (!count)
			return;
		doze(2);
	}
}

static void run(long seconds, char **command)
{
	long long from, end;
	long looks = 0, idle = 0, levels[LEVELS] = { 0 };
	int status = -1, stayed, gone;
	pid_t host, one;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	from = now();
	errno = posix_spawnp(&host, command[0], NULL, NULL, command, environ);
	if (errno)
		die(command[0]);
	for (gone = 0, end = from; !gone && end - from < seconds * 1000000000LL; end = now()) {
		while ((one = waitpid(-1, gone ? NULL : &status, WNOHANG)) > 0)
			gone |= one == host;
		if (gone)
			break;
		looks++;
		idle += !look(&stayed);
		levels[stayed < LEVELS ? stayed : LEVELS - 1]++;
		doze(LOOK_MS);
	}
	end = now();
	kill_all();
	printf("%d %lld %ld %ld", gone ? status : -1, end - from, looks, idle);
	for (int i = 0; i < LEVELS; i++)
		printf(" %ld", levels[i]);
	putchar('\n');
}

/* Of this process, in ns. */
static long long processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void burn(long ms)
{
	while (processor_time() < ms * 1000000LL)
		;
}

static void pairs(long n)
{
	long long from = processor_time();
	int ends[2];
	char byte = 0;

	if (pipe(ends))
		die("pipe");
	for (long i = 0; i < n; i++)
		if (write(ends[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1)
			die("pair");
	printf("%.3f\n", (double)(processor_time() - from) / n);
}

int main(int argc, char **argv)
{
	const char *role = argc > 2 ? argv[1] : "";

	if (!strcmp(role, "run") && argc > 3)
		run(atol(argv[2]), argv + 3);
	else if (!strcmp(role, "burn"))
		burn(atol(argv[2]));
	else if (!strcmp(role, "pairs"))
		pairs(atol(argv[2]));
	else
		return 2;
	return fflush(stdout) ? 1 : 0;
}
