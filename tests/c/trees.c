/* trees FIRST LAST: for each seed a tree of processes, drawn by chance, in which everybody has pipes, socket pairs and
 * terminals of its own under random numbers, those of make's pool among them, some of them inherited by the children.
 * In each lie a few bytes (the canary); when the children have ended, just these must still be there.
 * Ends with 0 if nothing was touched and every job ran. */
#include "jobs.h"
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

#define MOST 4

/* The numbers that pools have had, and a few beside. */
static const int numbers[] = { 3, 4, 5, 6, 7, 8, 9, 10, 48, 49, 50, 51, 62, 63 };

struct thing {
	int read, write, len;
	char canary[8];
};

static unsigned seed;

static unsigned draw(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

static const char *const kinds[] = { "pipe", "socket", "terminal" };

static int make(unsigned kind, int ends[2])
{
	if (kind == 1)
		return socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
	if (kind == 2) {
		ends[1] = posix_openpt(O_RDWR | O_NOCTTY);
		if (ends[1] < 0 || grantpt(ends[1]) || unlockpt(ends[1]))
			return -1;
		ends[0] = open(ptsname(ends[1]), O_RDWR | O_NOCTTY);
		return ends[0];
	}
	return pipe(ends);
}

/* Puts both ends under numbers of its choice that no other thing of this process has. */
static void place(struct thing *all, int n)
{
	struct thing *t = &all[n];
	unsigned kind = draw(8) < 6 ? 0 : 1 + draw(2), inherit = draw(2), first = 3 + draw(2);
	int ends[2], high[2], to[2];

	if (make(kind, ends) < 0) {
		perror(kinds[kind]);
		exit(90);
	}
	for (int i = 0; i < 2; i++) {
		high[i] = fcntl(ends[i], F_DUPFD_CLOEXEC, 200);
		close(ends[i]);
	}
	for (int i = 0; i < 2; i++)
		for (int taken = 1; taken;) {
			/* Often just the two that a pool of make's has, or ours had below the launcher. */
			to[i] = n == 0 && draw(3) ? (int)first + i : numbers[draw(sizeof numbers / sizeof *numbers)];
			taken = i && to[1] == to[0];
			for (int j = 0; j < n; j++)
				taken |= to[i] == all[j].read || to[i] == all[j].write;
		}
	for (int i = 0; i < 2; i++) {
		dup3(high[i], to[i], inherit ? 0 : O_CLOEXEC);
		close(high[i]);
	}
	t->read = to[0];
	t->write = to[1];
	t->len = 1 + draw(8);
	for (int i = 0; i < t->len; i++)
		t->canary[i] = draw(2) ? '+' : 'a' + draw(26);
	if (kind == 2)
		t->canary[t->len - 1] = '\n';
	if (write(t->write, t->canary, t->len) != t->len) {
		perror("write");
		exit(91);
	}
}

static int touched(const struct thing *t)
{
	char found[64];
	ssize_t n;

	fcntl(t->read, F_SETFL, fcntl(t->read, F_GETFL) | O_NONBLOCK);
	n = read(t->read, found, sizeof found);
	if (n == t->len && !memcmp(found, t->canary, n))
		return 0;
	printf("%d and %d: %.*s is now %.*s\n", t->read, t->write, t->len, t->canary, (int)(n < 0 ? 0 : n), found);
	return 1;
}

/* Starts a program in one of several ways. */
static pid_t start(char **argv)
{
	unsigned how = draw(4);
	pid_t pid;

	if (how == 0)
		return posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) ? -1 : pid;
	pid = how == 1 ? vfork() : fork();
	if (pid == 0) {
		/* As Python does, and Java and node. */
		if (how == 3)
			syscall(SYS_close_range, 3, ~0U, 0);
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static int grow(char *self, unsigned depth)
{
	struct thing all[MOST];
	char words[2][16], *child[] = { self, words[0], words[1], "-", NULL };
	char *job[] = { getenv("JOB"), "-s", "2", NULL };
	int n = draw(MOST), status, wrong = 0;

	if (draw(3) == 0)
		syscall(SYS_close_range, 3, ~0U, 0);
	for (int i = 0; i < n; i++)
		place(all, i);
	for (unsigned i = depth ? 1 + draw(2) : 0; i > 0; i--) {
		snprintf(words[0], sizeof words[0], "%u", draw(1 << 15));
		snprintf(words[1], sizeof words[1], "%u", depth - 1);
		wrong += start(child) < 0;
		if (draw(2))
			wrong += wait(&status) < 0 || status;
	}
	for (unsigned i = draw(4); i > 0; i--)
		wrong += start(job) < 0;
	while (wait(&status) > 0)
		wrong += status != 0;
	for (int i = 0; i < n; i++)
		wrong += touched(&all[i]);
	return wrong;
}

int main(int argc, char **argv)
{
	char word[16], *tree[] = { argv[0], word, "2", "-", NULL };
	int status, wrong = 0;
	pid_t pid;

	if (argc == 4) {
		seed = atoi(argv[1]);
		return grow(argv[0], atoi(argv[2])) != 0;
	}
	if (argc != 3)
		return 2;
	for (int i = atoi(argv[1]); i < atoi(argv[2]); i++) {
		snprintf(word, sizeof word, "%d", i);
		if (posix_spawn(&pid, argv[0], NULL, NULL, tree, environ) || waitpid(pid, &status, 0) != pid)
			return 92;
		if (status) {
			printf("seed %d: status %x\n", i, status);
			wrong++;
		}
	}
	return wrong != 0;
}
