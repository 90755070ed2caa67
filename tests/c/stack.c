/* stack STATE [DOOR]: how many bytes of the caller's stack a start takes, by one door or each. It is made in a
 * handler on a painted stack of its own, so that the host has one thread; told is how deep the paint was hurt.
 * STATE is first: nothing has been started before; alone: nothing runs; joins: one job runs, the first
 * ever; beside: two do.
 *
 * stack small: starts jobs in a handler on a stack of 8 KiB, the old SIGSTKSZ, or where the kernel takes much of
 * that, of 4.5 KiB more than it takes; below is a page that must not be touched. */
#include "start.h"
#include <signal.h>
#include <sys/mman.h>

enum { SIZE = 1 << 18, PAINT = 0xa5, SPARE = 512 };

static unsigned char *area;
static enum door door;
static char *napper[] = { "/bin/sleep", "0.1", NULL };
static pid_t started;
static long depth;

static void one(void)
{
	FILE *stream;

	if (door == SYSTEM) {
		if (system("exit 3") < 0)
			die("system");
	} else if (door == POPEN) {
		stream = popen("exit 3", "r");
		if (!stream)
			die("popen");
		pclose(stream);
	} else {
		started = start(door, napper);
		if (started < 0)
			die("start");
	}
}

/* The paint is put on here, below what the kernel and this frame need. */
static void __attribute__((noinline)) on_signal(int signo)
{
	volatile unsigned char here = 0, *p = area;

	(void)signo;
	while (p < &here - SPARE)
		*p++ = PAINT;
	one();
	for (p = area; *p == PAINT; p++)
		;
	depth = &here - p;
}

static void handle(void (*handler)(int), size_t size)
{
	stack_t stack = { .ss_size = size };
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_ONSTACK };

	area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(area, SIZE / 2, PROT_NONE);
	area += SIZE / 2;
	stack.ss_sp = area;
	if (sigaltstack(&stack, NULL) || sigaction(SIGUSR1, &sa, NULL))
		die("sigaltstack");
}

static void job(int signo)
{
	char *argv[] = { getenv("JOB"), "-b", "2", "-s", "40", NULL };

	(void)signo;
	if (start(door, argv) < 0)
		die("start");
}

static void small(void)
{
	long least = sysconf(_SC_MINSIGSTKSZ), room = 4608;

	handle(job, least > 8192 - room ? least + room : 8192);
	for (int n = 0; n < 8; n++) {
		door = n % 2 ? VFORK : FORK;
		raise(SIGUSR1);
	}
}

static void others(int count)
{
	for (int n = 0; n < count; n++)
		if (start(SPAWN, napper) < 0)
			die("start");
}

static void reap_all(void)
{
	while (wait(NULL) > 0)
		;
}

static void tell(const char *state)
{
	if (strcmp(state, "first") && strcmp(state, "joins")) {
		one();
		reap_all();
	}
	others(!strcmp(state, "beside") ? 2 : !strcmp(state, "joins"));
	raise(SIGUSR1);
	reap_all();
	printf("%s %s %ld\n", door_names[door], state, depth);
}

int main(int argc, char **argv)
{
	const char *only = argc > 2 ? argv[2] : NULL;

	if (argc < 2)
		return 95;
	if (!strcmp(argv[1], "small")) {
		small();
	} else {
		handle(on_signal, SIZE / 2);
		for (door = 0; door < DOORS; door++)
			if (!only || !strcmp(only, door_names[door]))
				tell(argv[1]);
	}
	reap_all();
	return 5;
}
