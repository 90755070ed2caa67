/* Calls the naked functions of the sources, which were assembled beside this file under names that
 * start in naked_, and prints a line for each thing that is not as it must be; "done" at the end. */
#include "doors.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __aarch64__
#define STACK_POINTER(sp) __asm__ volatile("mov %0, sp" : "=r"(sp))
#define THREAD_POINTER_IS_SELF 0
#else
#define STACK_POINTER(sp) __asm__ volatile("mov %%rsp, %0" : "=r"(sp))
#define THREAD_POINTER_IS_SELF 1
#endif

int naked_execl(const char *, ...), naked_execlp(const char *, ...), naked_execle(const char *, ...);
int naked_fork(void), naked___fork(void), naked__Fork(void);
int naked_vfork(void), naked___vfork(void);
long naked_clone_vm(uint64_t flags, void (*f)(size_t), size_t arg, int32_t *tid);
long naked_syscall6(long n, const size_t a[6]);
size_t naked_thread_pointer(void);
void naked_restorer(void);

static int bad;

static void must(int so, const char *what, long more)
{
	if (!so) {
		printf("not so: %s (%ld)\n", what, more);
		bad = 1;
	}
}

/* The frame of a compiled function starts where the ABI says, or a spilled vector would fault. */
static void aligned(const char *where)
{
	_Alignas(16) volatile char spot[16];
	uintptr_t sp;

	STACK_POINTER(sp);
	must(sp % 16 == 0, where, (long)(sp % 16));
	must((uintptr_t)spot % 16 == 0, where, -1);
}

/* ---- execl, execlp, execle ---------------------------------------------------------------- */

static char path_mark[] = "the path", *env_mark[] = { "ENV=1", NULL };
static int expected;
static const char *through;

static int list_is_right(const char *path, char **argv)
{
	char name[16];
	int n = 0;

	aligned(through);
	must(path == path_mark, "path", expected);
	for (; argv[n]; n++) {
		snprintf(name, sizeof name, "a%d", n);
		must(!strcmp(argv[n], name), "argument", n);
	}
	must(n == expected, "number of arguments", n);
	return -1000 - n;
}

int execl_list(const char *path, char **argv) { return list_is_right(path, argv); }
int execlp_list(const char *path, char **argv) { return list_is_right(path, argv) - 100; }
int execle_list(const char *path, char **argv)
{
	int n = 0, ret = list_is_right(path, argv) - 200;

	while (argv[n])
		n++;
	must(argv[n + 1] == (char *)env_mark, "environment", n);
	return ret;
}

static void exec_doors(void)
{
	/* What a callee must keep, it keeps: these live in such registers over the calls. */
	volatile long around = 0x1234567;
	register long kept = around, more = around + 1, yet = around + 2, last = around + 3;
	int l = 0, lp = 0, le = 0;

	for (expected = 0; expected <= MOST; expected++) {
		switch (expected) {
#define CALL(n, list) \
	case n: \
		through = "execl"; \
		l = naked_execl(path_mark, list (char *)NULL); \
		through = "execlp"; \
		lp = naked_execlp(path_mark, list (char *)NULL); \
		through = "execle"; \
		le = naked_execle(path_mark, list (char *)NULL, env_mark); \
		break;
			EACH_COUNT(CALL)
#undef CALL
		}
		must(l == -1000 - expected, "what execl returns", l);
		must(lp == -1100 - expected, "what execlp returns", lp);
		must(le == -1200 - expected, "what execle returns", le);
	}
	must(kept == around && more == around + 1 && yet == around + 2 && last == around + 3,
	     "registers of the caller", 0);
}

/* ---- fork --------------------------------------------------------------------------------- */

static uintptr_t site;

int fork_from(uintptr_t at)
{
	aligned("fork");
	site = at;
	return 4711;
}

int underscore_fork_from(uintptr_t at) { return fork_from(at) + 1; }

#define FORK_FROM(name) \
	__attribute__((noinline)) static int call_##name(void) \
	{ \
		int ret = naked_##name(); \
		must(site >= (uintptr_t)call_##name && site < (uintptr_t)call_##name + 64, \
		     "call site of " #name, (long)(site - (uintptr_t)call_##name)); \
		return ret; \
	}
FORK_FROM(fork)
FORK_FROM(__fork)
FORK_FROM(_Fork)

static void forks(void)
{
	must(call_fork() == 4711 && call___fork() == 4711 && call__Fork() == 4712, "fork", 0);
	fork_from(0);
}

/* ---- vfork -------------------------------------------------------------------------------- */

enum { COOKIE = 0x12345 };
struct trace {
	int n;
	int32_t tid;
	char what[64];
} *trace; /* shared memory: where vfork is a fork, the child could not tell otherwise */

/* A vfork that returns to the wrong place comes by here again and again, in ever more processes. */
static void note(char c)
{
	int n = __atomic_fetch_add(&trace->n, 1, __ATOMIC_SEQ_CST);

	if (n >= (int)sizeof trace->what - 1)
		_exit(98);
	trace->what[n] = c;
}

size_t vfork_before(void)
{
	aligned("before vfork");
	note('b');
	return COOKIE;
}

int vfork_after(long ret, size_t cookie)
{
	aligned("after vfork");
	note('a');
	must(cookie == COOKIE, "cookie of vfork", (long)cookie);
	return ret < 0 ? -1 : (int)ret + 1000000;
}

/* Its frame must be whole after the child has returned here and called on. */
__attribute__((noinline)) static int one_vfork(int (*door)(void), int status)
{
	volatile long words[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	int pid = door();

	if (pid == 0) {
		note('c');
		_exit(status);
	}
	for (int i = 0; i < 8; i++)
		must(words[i] == i + 1, "frame of the caller of vfork", i);
	return pid;
}

static void vforks(int (*door)(void))
{
	for (int status = 0; status < 5; status++) {
		int pid, got = -1;

		memset(trace, 0, sizeof *trace);
		pid = one_vfork(door, status);
		must(pid > 1000000, "what vfork returns", pid);
		must(waitpid(pid - 1000000, &got, 0) == pid - 1000000, "pid of vfork", errno);
		must(WIFEXITED(got) && WEXITSTATUS(got) == status, "status after vfork", got);
		must(trace->n == 3 && trace->what[0] == 'b', "order around vfork", trace->n);
		/* A fork in vfork's place lets both go at once. */
		must(strchr(trace->what, 'a') && strchr(trace->what, 'c'), "calls around vfork", 0);
#ifndef EMULATED
		must(!strcmp(trace->what, "bca"), "child first", 0);
#endif
	}
}

/* ---- the engine's ------------------------------------------------------------------------- */

static void in_clone(size_t arg)
{
	aligned("clone_vm");
	note('c');
	_exit(arg == 77 ? 33 : 34);
}

#define PARENT_SETTID 0x100000
#define CHILD_CLEARTID 0x200000
#define CHILD_SETTID 0x1000000

static long one_clone_vm(uint64_t flags)
{
	int status = -1;
	long pid;

	memset(trace, 0, sizeof *trace);
#ifdef EMULATED
	flags |= SIGCHLD; /* CLONE_VM without a stack of its own is not emulated */
#else
	flags |= 0x4100 | SIGCHLD;
#endif
	pid = naked_clone_vm(flags, in_clone, 77, &trace->tid);
#ifndef EMULATED
	must(trace->n == 1, "the caller of clone_vm slept", trace->n);
#endif
	must(pid > 0, "clone_vm", pid);
	must(waitpid((pid_t)pid, &status, 0) == pid, "pid of clone_vm", errno);
	must(WIFEXITED(status) && WEXITSTATUS(status) == 33, "argument of clone_vm", status);
	return pid;
}

static void clone_vm(void)
{
	long pid;

	pid = one_clone_vm(PARENT_SETTID);
	must(trace->tid == pid, "parent_tid of clone_vm", trace->tid);
	pid = one_clone_vm(CHILD_SETTID);
	must(trace->tid == pid, "child_tid of clone_vm", trace->tid);
#ifndef EMULATED
	one_clone_vm(PARENT_SETTID | CHILD_CLEARTID);
	must(trace->tid == 0, "cleared child_tid of clone_vm", trace->tid);
#endif
	pid = naked_clone_vm(0x10000, in_clone, 77, NULL); /* CLONE_THREAD without CLONE_SIGHAND */
	must(pid == -EINVAL, "failed clone_vm", pid);
}

static volatile sig_atomic_t handled;

static void handler(int signal)
{
	aligned("handler");
	handled += signal;
}

struct kernel_sigaction {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

static void system_calls(void)
{
	struct kernel_sigaction action = { handler, RESTORER, naked_restorer, 0 };
	size_t map[] = { 0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (size_t)-1, 0 };
	size_t set[] = { SIGUSR1, (size_t)&action, 0, 8, 0, 0 };
	size_t close_nothing[] = { (size_t)-1, 0, 0, 0, 0, 0 };
	long at = naked_syscall6(SYS_mmap, map);

	must(at > 0, "mmap", at);
	memset((void *)at, 1, 8192);
	must(naked_syscall6(SYS_close, close_nothing) == -EBADF, "close", 0);
	must(naked_syscall6(SYS_rt_sigaction, set) == 0, "sigaction", 0);
	for (int i = 0; i < 3; i++)
		raise(SIGUSR1);
	must(handled == 3 * SIGUSR1, "signals handled", handled);
}

static void *other_thread(void *arg)
{
	(void)arg;
	return (void *)naked_thread_pointer();
}

static void thread_pointers(void)
{
	size_t own = naked_thread_pointer();
	pthread_t thread;
	void *others;

	must(own == naked_thread_pointer(), "thread pointer stays", 0);
	if (THREAD_POINTER_IS_SELF)
		must(own == *(size_t *)own, "thread pointer is the thread", 0);
	must(own == (size_t)__builtin_thread_pointer(), "thread pointer", 0);
	pthread_create(&thread, NULL, other_thread, NULL);
	pthread_join(thread, &others);
	must((size_t)others != own, "thread pointer of another thread", 0);
}

int main(void)
{
	trace = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	setvbuf(stdout, NULL, _IONBF, 0);
	exec_doors();
	forks();
	vforks(naked_vfork);
	vforks(naked___vfork);
	clone_vm();
	system_calls();
	thread_pointers();
	puts("done");
	return bad;
}
