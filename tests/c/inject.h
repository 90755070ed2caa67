/* The system calls of the engine, and whose they are. */
#ifndef INJECT_H
#define INJECT_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* All that src/engine/sys makes, but for the calls that cannot fail. Nor close(2): a signal that comes before the
 * listener has heard of a call ends it with EINTR, and Linux has always closed the descriptor then. */
#define CALL(name) { #name, SYS_##name }
static const struct {
	const char *name;
	unsigned nr;
} calls[] = {
	CALL(openat), CALL(read), CALL(pread64), CALL(write), CALL(splice), CALL(pipe2), CALL(ppoll),
	CALL(fcntl), CALL(fstat), CALL(statx), CALL(fallocate), CALL(getdents64), CALL(close_range),
	CALL(prlimit64), CALL(newfstatat), CALL(faccessat2), CALL(faccessat), CALL(readlinkat), CALL(mkdirat),
	CALL(mknodat), CALL(linkat), CALL(unlinkat), CALL(chdir), CALL(mmap), CALL(munmap), CALL(clock_gettime),
	CALL(nanosleep), CALL(timer_create), CALL(timer_settime), CALL(timer_delete), CALL(sysinfo), CALL(socket),
	CALL(setsid), CALL(sched_getaffinity), CALL(kill), CALL(waitid), CALL(pidfd_open), CALL(wait4),
	CALL(clone), CALL(execve), CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigpending),
	CALL(rt_sigtimedwait), CALL(rt_sigqueueinfo), CALL(sigaltstack), CALL(signalfd4), CALL(setitimer),
	CALL(exit_group),
};
enum { CALLS = sizeof calls / sizeof *calls };

/* From this number on, the same on all machines, calls are newer than Linux 4.18 (5.1 brought the first). */
enum { FIRST_AFTER_4_18 = 424 };

/* Newer calls, of the engine and of the libc and the programs around it, and statx of 4.11. */
static const struct {
	const char *name;
	unsigned nr;
} newer[] = {
	CALL(statx), CALL(pidfd_send_signal), CALL(pidfd_open), CALL(clone3), CALL(close_range), CALL(openat2),
	CALL(faccessat2), CALL(epoll_pwait2),
};
enum { NEWER = sizeof newer / sizeof *newer };

static const char *const roles[] = { "lib", "hold", "guard" };
enum { LIB, HOLD, GUARD, ROLES };

/* Where a process' code is, as far as it has been asked for. */
struct code {
	unsigned long start, end;
	int role;
};
static struct process {
	unsigned pid;
	int used;
	struct code code[64];
} processes[256];

static inline int call_of(unsigned nr)
{
	int i = 0;

	while (calls[i].nr != nr)
		i++;
	return i;
}

static inline int call_named(const char *name)
{
	for (int i = 0; i < CALLS; i++)
		if (strcmp(calls[i].name, name) == 0)
			return i;
	return -1;
}

static inline int role_named(const char *name)
{
	for (int i = 0; i < ROLES; i++)
		if (strcmp(roles[i], name) == 0)
			return i;
	return -1;
}

static inline long millis(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void forget(unsigned pid)
{
	struct process *p = &processes[pid % 256];

	if (p->pid == pid)
		p->used = 0;
}

/* What the helper does in this process. */
static inline int helper_role(unsigned pid)
{
	char path[40], words[256] = "";
	FILE *file;
	size_t n = 0;

	snprintf(path, sizeof path, "/proc/%u/cmdline", pid);
	if ((file = fopen(path, "r"))) {
		n = fread(words, 1, sizeof words - 1, file);
		fclose(file);
	}
	words[n] = 0;
	return strcmp(words + strlen(words) + 1, "guard") == 0 ? GUARD : HOLD;
}

static inline void look(struct process *p, unsigned pid)
{
	char path[40], line[512];
	FILE *file;

	p->pid = pid;
	p->used = 0;
	snprintf(path, sizeof path, "/proc/%u/maps", pid);
	if (!(file = fopen(path, "r")))
		return;
	while (p->used < 64 && fgets(line, sizeof line, file)) {
		struct code *c = &p->code[p->used];
		char mode[8];

		if (sscanf(line, "%lx-%lx %7s", &c->start, &c->end, mode) != 3 || mode[2] != 'x')
			continue;
		c->role = strstr(line, "/libjsshim.so") ? LIB : strstr(line, "/jsshim-helper") ? helper_role(pid) : -1;
		p->used++;
	}
	fclose(file);
}

static inline int known_role(const struct process *p, unsigned pid, unsigned long ip, int *found)
{
	for (int i = 0; p->pid == pid && i < p->used; i++)
		if (ip >= p->code[i].start && ip <= p->code[i].end) {
			*found = p->code[i].role;
			return 1;
		}
	return 0;
}

/* Whose call comes from this address? -1: the host's. */
static inline int role_of(unsigned pid, unsigned long ip)
{
	struct process *p = &processes[pid % 256];
	int found = -1;

	if (!known_role(p, pid, ip, &found)) {
		look(p, pid);
		known_role(p, pid, ip, &found);
	}
	return found;
}

#endif
