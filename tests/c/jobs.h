/* The register of running jobs that every measured process signs. The harness reads the same file
 * (harness/register.rs), and py/jobs.py writes it too; flock(2) makes each entry one step. */
#ifndef JOBS_H
#define JOBS_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

struct counts {
	unsigned running, peak, started, ended;
};

static void sign(int coming)
{
	const char *path = getenv("JSSHIM_TEST_JOBS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	struct counts c = { 0 };

	if (fd < 0) {
		perror("jobs register");
		_exit(97);
	}
	while (flock(fd, LOCK_EX) < 0)
		;
	if (pread(fd, &c, sizeof c, 0) != sizeof c)
		_exit(98);
	if (coming) {
		c.started++;
		if (++c.running > c.peak)
			c.peak = c.running;
	} else {
		c.running--;
		c.ended++;
	}
	if (pwrite(fd, &c, sizeof c, 0) != sizeof c)
		_exit(99);
	close(fd);
}

/* Where programs start slowly (JSSHIM_TEST_EMULATED), jobs that are to meet sleep so many times longer. */
static void nap(long ms)
{
	const char *pace = getenv("JSSHIM_TEST_EMULATED");
	long long ns = ms * 1000000LL * (pace ? atoi(pace) : 1);
	struct timespec left = { ns / 1000000000, ns % 1000000000 };

	while (nanosleep(&left, &left) < 0)
		;
}

/* Notes a burst, from when to when this process computed, in the log of the harness (harness/bursts.rs). */
static void note_burst(const struct timespec *from)
{
	const char *path = getenv("JSSHIM_TEST_BURSTS");
	int fd = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
	struct timespec to;
	char line[64];
	int n;

	if (fd < 0)
		return;
	clock_gettime(CLOCK_MONOTONIC, &to);
	n = snprintf(line, sizeof line, "%lld %lld\n", from->tv_sec * 1000000000LL + from->tv_nsec,
		     to.tv_sec * 1000000000LL + to.tv_nsec);
	if (write(fd, line, n) != n)
		_exit(99);
	close(fd);
}

/* Shorter ones than this are no matter of the slots: one that wakes for so long is owed none. */
enum { BURST_MS = 30 };

static void burn(long ms)
{
	struct timespec now, from;
	long until;

	clock_gettime(CLOCK_MONOTONIC, &from);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	until = now.tv_sec * 1000 + now.tv_nsec / 1000000 + ms;
	do
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	while (now.tv_sec * 1000 + now.tv_nsec / 1000000 < until);
	if (ms >= BURST_MS)
		note_burst(&from);
}

/* One job without a program of its own, for a host that forks and does not exec. */
static inline void work(long burn_ms, long nap_ms)
{
	sign(1);
	burn(burn_ms);
	nap(nap_ms);
	sign(0);
}

/* Stays until the harness has seen what it wants to see while this host lives. */
static inline void wait_for_go(void)
{
	const char *path = getenv("JSSHIM_TEST_GO");

	while (path && access(path, F_OK) < 0)
		nap(10);
}

#endif
