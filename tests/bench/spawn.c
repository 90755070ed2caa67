/* spawn: what scripts/bench measures with. All figures are nanoseconds of wall time, one line a sample.
 *   exec ROUNDS [LIBRARY...]  /bin/true without and with each library preloaded in turn, start to end:
 *                             a column for each, the first one without
 *   pair LIBRARY DOOR CASE COUNT
 *                             two hosts, the second one preloaded, start COUNT batches of jobs in turn by
 *                             DOOR (posix_spawn, fork, vfork): "started reaped" of the one and the other
 *       CASE only    one job at a time
 *            slot    the same, after two have run at once: a preloaded host has its ledger then
 *            token   one job at a time beside one that sleeps on and has the implicit slot
 *            large   only, in a host of 1 GB
 *   host DOOR CASE            one of the two: a batch of jobs for each byte that it reads
 *   held COUNT [POOL]         starts "now" beside a job that sleeps on: "started running". With POOL, a
 *                             fifo without a token, the job is one that must wait for a token; it gets
 *                             one a moment later, and "running" counts from there
 *   now                       prints the time
 * No job is preloaded itself, except in "exec", so that the rest measures the cost to the host alone. */
#define PROGRAM "spawn"
#include "common.h"

enum { LARGE = 1 << 30, LIBRARIES = 8, WARM = 20, BATCH = 10, PAUSE_NS = 3000000 };

static char *true_argv[] = { "/bin/true", NULL };
static char *sleep_argv[] = { "/bin/sleep", "300", NULL };
static char *now_argv[] = { NULL, "now", NULL };

/* The environment as it is, but with this LD_PRELOAD, or none. */
static char **environment(const char *library)
{
	size_t n = 0, used = 0;
	char **env, *word;

	while (environ[n])
		n++;
	env = calloc(n + 2, sizeof *env);
	if (!env)
		die("calloc");
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "LD_PRELOAD=", 11))
			env[used++] = environ[i];
	if (library) {
		if (asprintf(&word, "LD_PRELOAD=%s", library) < 0)
			die("asprintf");
		env[used] = word;
	}
	return env;
}

static char *self(void)
{
	char *path = realpath("/proc/self/exe", NULL);

	if (!path)
		die("/proc/self/exe");
	return path;
}

static pid_t start(const char *door, char **argv, char **env)
{
	pid_t pid;

	if (*door == 'p') {
		errno = posix_spawn(&pid, argv[0], NULL, NULL, argv, env);
		if (errno)
			die("posix_spawn");
		return pid;
	}
	pid = *door == 'v' ? vfork() : fork();
	if (pid < 0)
		die(door);
	if (pid == 0) {
		execve(argv[0], argv, env);
		_exit(127);
	}
	return pid;
}

static void reap(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		errno = ECHILD;
		die("a job failed");
	}
}

static void end(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
}

/* The order changes from round to round, so that none always follows the same one. */
static void exec(int rounds, int n, char **libraries)
{
	char **env[LIBRARIES + 1];
	long long took[LIBRARIES + 1];

	env[0] = environment(NULL);
	for (int i = 0; i < n; i++)
		env[i + 1] = environment(libraries[i]);
	for (int round = -WARM; round < rounds; round++) {
		for (int i = 0; i <= n; i++) {
			int turn = (i + round + WARM) % (n + 1), which = round & 1 ? n - turn : turn;
			long long from = now();

			reap(start("posix_spawn", true_argv, env[which]));
			took[which] = now() - from;
		}
		for (int i = 0; round >= 0 && i <= n; i++)
			printf("%lld%c", took[i], i < n ? ' ' : '\n');
	}
}

struct sample {
	long long started, reaped;
};

static void host(const char *door, const char *which)
{
	char **env = environment(NULL), byte;
	pid_t sleeper = 0;

	if (!strcmp(which, "large")) {
		char *memory = malloc(LARGE);

		if (!memory)
			die("malloc");
		/* Something that the compiler cannot leave out. */
		memset(memory, (int)now() | 1, LARGE);
		env[0] = *memory ? env[0] : memory;
	} else if (strcmp(which, "only")) {
		sleeper = start(door, sleep_argv, env);
		reap(start(door, true_argv, env));
	}
	if (!strcmp(which, "slot"))
		end(sleeper);
	while (read(0, &byte, 1) == 1) {
		struct sample s[BATCH];

		for (int i = 0; i < BATCH; i++) {
			long long from = now();
			pid_t pid = start(door, true_argv, env);

			s[i].started = now() - from;
			reap(pid);
			s[i].reaped = now() - from;
		}
		if (write(1, s, sizeof s) != sizeof s)
			die("the answer of a host");
	}
	if (!strcmp(which, "token"))
		end(sleeper);
}

struct line {
	pid_t pid;
	int to, from;
};

static struct line host_line(char *door, char *which, const char *library)
{
	char *argv[] = { self(), "host", door, which, NULL };
	posix_spawn_file_actions_t actions;
	struct line line;
	int to[2], from[2];

	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		die("pipe2");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, to[0], 0);
	posix_spawn_file_actions_adddup2(&actions, from[1], 1);
	errno = posix_spawn(&line.pid, argv[0], &actions, NULL, argv, environment(library));
	if (errno)
		die(argv[0]);
	close(to[0]);
	close(from[1]);
	line.to = to[1];
	line.from = from[0];
	return line;
}

static void pair(const char *library, char *door, char *which, int count)
{
	struct line lines[] = { host_line(door, which, NULL), host_line(door, which, library) };

	for (int i = -2; i < count; i++) {
		struct sample s[2][BATCH];

		for (int turn = 0; turn < 2; turn++) {
			int n = turn ^ (i & 1);

			if (write(lines[n].to, "", 1) != 1 || read(lines[n].from, s[n], sizeof s[n]) != sizeof s[n])
				die("a host is gone");
		}
		for (int k = 0; i >= 0 && k < BATCH; k++)
			printf("%lld %lld %lld %lld\n", s[0][k].started, s[0][k].reaped, s[1][k].started, s[1][k].reaped);
	}
	for (int n = 0; n < 2; n++) {
		close(lines[n].to);
		reap(lines[n].pid);
	}
}

static void held(int count, const char *pool)
{
	struct timespec pause = { 0, PAUSE_NS };
	int fd = pool ? open(pool, O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1, told[2];
	char **env = environment(NULL), text[32] = "", byte = '+';
	struct pollfd back = { fd, POLLIN, 0 };
	posix_spawn_file_actions_t actions;
	pid_t pid, sleeper;

	if (pool && fd < 0)
		die(pool);
	if (pipe2(told, O_CLOEXEC))
		die("pipe2");
	now_argv[0] = self();
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, told[1], 1);
	sleeper = start("posix_spawn", sleep_argv, env);
	for (int i = -WARM; i < count; i++) {
		long long from = now(), started, runs;

		errno = posix_spawn(&pid, now_argv[0], &actions, NULL, now_argv, env);
		if (errno)
			die("posix_spawn");
		started = now() - from;
		nanosleep(&pause, NULL);
		if (pool) {
			from = now();
			if (write(fd, &byte, 1) != 1)
				die("no token could be given");
		}
		if (read(told[0], text, sizeof text - 1) <= 0)
			die("the job said nothing");
		runs = atoll(text);
		reap(pid);
		/* The library's guard may be the one that gives it back, a little later. */
		if (pool && (poll(&back, 1, 1000) != 1 || read(fd, &byte, 1) != 1))
			die("the token did not come back");
		if (pool && runs < from) {
			errno = EPROTO;
			die("a job ran without a slot");
		}
		if (i >= 0)
			printf("%lld %lld\n", started, runs - from);
	}
	end(sleeper);
}

int main(int argc, char **argv)
{
	const char *role = argc > 1 ? argv[1] : "";

	if (!strcmp(role, "exec") && argc > 2 && argc - 3 <= LIBRARIES)
		exec(atoi(argv[2]), argc - 3, argv + 3);
	else if (!strcmp(role, "pair") && argc == 6)
		pair(argv[2], argv[3], argv[4], atoi(argv[5]));
	else if (!strcmp(role, "host") && argc == 4)
		host(argv[2], argv[3]);
	else if (!strcmp(role, "held") && argc > 2)
		held(atoi(argv[2]), argc > 3 ? argv[3] : NULL);
	else if (!strcmp(role, "now"))
		printf("%lld\n", now());
	else
		return 2;
	return fflush(stdout) ? 1 : 0;
}
