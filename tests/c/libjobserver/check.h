/* What the checks of libjobserver have in common. A program has cases; without an argument it lists them. */
#ifndef CHECK_H
#define CHECK_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "jobserver.h"

#define check(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "%s:%d: not so: %s (errno %d, %s)\n", __FILE__, __LINE__,  \
				#what, errno, strerror(errno));                                    \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* A call that must fail with this errno. */
#define fails(call, with)                                                                          \
	do {                                                                                       \
		errno = EXDEV;                                                                     \
		check((call) == -1);                                                               \
		check(errno == (with));                                                            \
	} while (0)

struct test_case {
	const char *name;
	void (*run)(void);
};

static inline int run_case(const struct test_case *cases, int count, int argc, char **argv)
{
	for (int i = 0; i < count; i++) {
		if (argc < 2)
			puts(cases[i].name);
		else if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			return 0;
		}
	}
	return argc < 2 ? 0 : 2;
}

#define CASES(...)                                                                                 \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		static const struct test_case cases[] = { __VA_ARGS__ };                                \
		return run_case(cases, sizeof cases / sizeof *cases, argc, argv);                  \
	}

static inline long millis(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void nap(long ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&left, &left) < 0)
		;
}

/* Jobs: end at once with a status; stay until they are killed. */
static inline int job_ends(void *data)
{
	return data ? *(int *)data : 0;
}

static inline int job_stays(void *data)
{
	(void)data;
	for (;;)
		pause();
	return 0;
}

/* Ends when the program has closed the gate. */
static int gate[2];

static inline int job_waits(void *data)
{
	char byte;

	close(gate[1]);
	return read(gate[0], &byte, 1) < 0 ? 99 : job_ends(data);
}

static int done_count, done_status;
static void *done_data;

static inline void done(void *data, int status)
{
	done_count++;
	done_status = status;
	done_data = data;
}

/* The tokens that lie in the pool of an instance. */
static inline int level(const struct jobserver *js)
{
	int n = -1;

	check(ioctl(js->poll[1].fd, FIONREAD, &n) == 0);
	return n;
}

/* Waits until a child has ended, and leaves it. */
static inline void await_end(pid_t pid)
{
	siginfo_t info;

	check(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0);
}

static inline void open_gate(void)
{
	close(gate[0]);
	close(gate[1]);
}

/* A child of our own that has ended with this status and is not collected. */
static inline pid_t ended_child(int status)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0)
		_exit(status);
	await_end(pid);
	return pid;
}

/* Open descriptors. */
static inline int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	check(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* A new instance with these tokens; MAKEFLAGS is set by it. */
static inline void create(struct jobserver *js, const char *tokens)
{
	memset(js, 0, sizeof *js);
	check(jobserver_create(js, tokens) == (int)strlen(tokens) + 1);
}

/* Starts a job and finds its pid in what jobserver_print says. */
static inline pid_t launch(struct jobserver *js, jobserver_callback_t func, void *data)
{
	char text[4096], *at, *last = NULL;
	FILE *stream;

	check(jobserver_launch_job(js, 0, true, data, func, done) == 0);
	stream = fmemopen(text, sizeof text, "w");
	check(stream && jobserver_print(stream, js, "\n", "\n", "\n") > 0);
	fclose(stream);
	for (at = text; (at = strstr(at, "pid: ")); at++)
		last = at;
	check(last);
	return atoi(last + 5);
}

/* Takes this instance apart, whatever it does. */
static inline void stop(struct jobserver *js)
{
	check(jobserver_clear(js) == 0);
	check(js->current_jobs == 0);
	check(jobserver_close(js) == 0);
	check(jobserver_unsetenv(js) == 0);
}

static inline void set_flags(const char *format, int read_fd, int write_fd)
{
	char text[200];

	snprintf(text, sizeof text, format, read_fd, write_fd);
	setenv("MAKEFLAGS", text, 1);
}

#endif
