/* The page that the driver and its children share, and how they wait for each other, so that things
 * happen in the same order whether a job had to wait for its slot or not. */
#include "table.h"
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

/* A wait that takes longer has failed. */
enum { PATIENCE_MS = 30000 };

struct shared *shared;
char folder[4096];

void share(int make)
{
	char path[4200];
	int fd;

	snprintf(path, sizeof path, "%s/shared", folder);
	fd = open(path, O_RDWR | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
	if (fd < 0 || (make && ftruncate(fd, sizeof *shared) < 0)) {
		perror(path);
		_exit(90);
	}
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (shared == MAP_FAILED)
		_exit(91);
}

/* By the kernel itself: nothing of these waits shall reach a library. */
void pause_a_moment(void)
{
	struct timespec moment = { 0, 500000 };

	syscall(SYS_nanosleep, &moment, NULL);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void await(int (*there)(int), int n, const char *what)
{
	long until = now_ms() + PATIENCE_MS;

	while (!there(n)) {
		if (now_ms() > until) {
			snprintf(shared->late, sizeof shared->late, "%s", what);
			return;
		}
		pause_a_moment();
	}
}

static int has_ended(int pid)
{
	char path[64], text[512] = "", *at;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 1;
	if (read(fd, text, sizeof text - 1) < 0)
		*text = 0;
	close(fd);
	at = strrchr(text, ')');
	return !at || at[2] == 'Z' || at[2] == 'X';
}

static int driver_was_told(int calls)
{
	return shared->calls >= calls;
}

void await_calls(int n)
{
	if (shared->handles)
		await(driver_was_told, n, "the handler");
}

static int all_reaped(int n)
{
	return shared->reaped >= n;
}

void await_reaped(int n)
{
	await(all_reaped, n, "the handler's reaping");
}

void await_other(void)
{
	if (!shared->other)
		return;
	shared->go_other = 1;
	await(has_ended, shared->other, "the other child");
	await_calls(1);
	if (shared->reaps && getpid() == shared->driver)
		await_reaped(1);
}

static int has_stepped(int unused)
{
	(void)unused;
	return shared->step;
}

void await_step(void)
{
	await(has_stepped, 0, "the child");
}

void await_daemon(void)
{
	await_step();
	await(has_ended, shared->daemon, "the daemon");
}

static int may_go(int unused)
{
	(void)unused;
	return shared->go_child;
}

_Noreturn void behave(int with_handlers)
{
	char line[64];
	ssize_t n;

	if (shared->listens) {
		n = read(0, line, sizeof line - 1);
		say("  child read %.*s", n > 0 ? (int)n : 0, line);
		flush_to_file();
	}
	if (shared->speaks && write(1, "said\n", 5) < 0)
		_exit(92);
	if (shared->stops) {
		await_other();
		raise(SIGSTOP);
	}
	shared->daemon = getpid();
	shared->step = 1;
	if (shared->waits)
		await(may_go, 0, "the driver's leave");
	await_other();
	if (shared->end < 0)
		kill(getpid(), -shared->end);
	switch (with_handlers ? shared->exit_by % 4 : 1 + shared->exit_by % 2) {
	case 0: exit(shared->end);
	case 1: _exit(shared->end);
	case 2: _Exit(shared->end);
	default: quick_exit(shared->end);
	}
}
