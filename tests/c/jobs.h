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

static void nap(long ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&left, &left) < 0)
		;
}

static void burn(long ms)
{
	struct timespec now;
	long until;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	until = now.tv_sec * 1000 + now.tv_nsec / 1000000 + ms;
	do
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	while (now.tv_sec * 1000 + now.tv_nsec / 1000000 < until);
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
