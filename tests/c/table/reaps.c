/* Doors through which a child is collected. */
#include "table.h"
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern pid_t __wait(int *) __attribute__((weak));
extern pid_t __waitpid(pid_t, int *, int) __attribute__((weak));

static void by_wait(pid_t pid, int options, struct seen *s)
{
	(void)pid, (void)options;
	s->ret = wait(&s->status);
}

static int has___wait(void) { return is_glibc() && __wait; }
static void by___wait(pid_t pid, int options, struct seen *s)
{
	(void)pid, (void)options;
	s->ret = __wait(&s->status);
}

/* Without a place for the status. */
static void by_wait_null(pid_t pid, int options, struct seen *s)
{
	(void)pid, (void)options;
	s->ret = wait(NULL);
}

static void by_waitpid(pid_t pid, int options, struct seen *s)
{
	s->ret = waitpid(pid, &s->status, options);
}

static int has___waitpid(void) { return is_glibc() && __waitpid; }
static void by___waitpid(pid_t pid, int options, struct seen *s)
{
	s->ret = __waitpid(pid, &s->status, options);
}

static void by_waitpid_any(pid_t pid, int options, struct seen *s)
{
	(void)pid;
	s->ret = waitpid(-1, &s->status, options);
}

/* A usage that was filled in has a size. */
static void usage(const struct rusage *used, struct seen *s)
{
	if (s->ret > 0 && used->ru_maxrss <= 0)
		s->err = ENODATA;
}

static void by_wait3(pid_t pid, int options, struct seen *s)
{
	struct rusage used = { .ru_maxrss = -1 };

	(void)pid;
	s->ret = wait3(&s->status, options, &used);
	s->err = errno;
	usage(&used, s);
}

static void by_wait4(pid_t pid, int options, struct seen *s)
{
	struct rusage used = { .ru_maxrss = -1 };

	s->ret = wait4(pid, &s->status, options, &used);
	s->err = errno;
	usage(&used, s);
}

static void through_waitid(idtype_t kind, id_t id, int options, struct seen *s)
{
	s->has_info = 1;
	s->info.si_pid = NO_PID;
	s->ret = waitid(kind, id, &s->info, options | WEXITED);
}

static void by_waitid(pid_t pid, int options, struct seen *s)
{
	through_waitid(P_PID, pid, options, s);
}

static void by_waitid_any(pid_t pid, int options, struct seen *s)
{
	(void)pid;
	through_waitid(P_ALL, 0, options, s);
}

/* Of a child that is gone there is no descriptor. */
static int children_stay(void) { return !condition->vanish; }
static void by_waitid_pidfd(pid_t pid, int options, struct seen *s)
{
	int fd = syscall(SYS_pidfd_open, pid, 0);

	errno = SENTINEL;
	through_waitid(P_PIDFD, fd, options, s);
	s->err = errno;
	if (fd >= 0)
		close(fd);
}

const struct reap reaps[] = {
	{ "wait", 1, 0, by_wait, NULL },
	{ "waitpid", 0, 1, by_waitpid, NULL },
	{ "__wait", 1, 0, by___wait, has___wait },
	{ "wait4", 0, 1, by_wait4, NULL },
	{ "wait3", 1, 1, by_wait3, NULL },
	{ "waitid", 0, 1, by_waitid, NULL },
	{ "wait without a status", 1, 0, by_wait_null, NULL },
	{ "__waitpid", 0, 1, by___waitpid, has___waitpid },
	{ "waitpid of any", 1, 1, by_waitpid_any, NULL },
	{ "waitid by pidfd", 0, 1, by_waitid_pidfd, children_stay },
	{ "waitid of any", 1, 1, by_waitid_any, NULL },
};

const int n_reaps = sizeof reaps / sizeof *reaps;

const struct reap *nth_reap(int n, int any_allowed)
{
	const struct reap *r = &reaps[n % n_reaps];

	while ((r->any && !any_allowed) || (r->there && !r->there()))
		r = &reaps[++n % n_reaps];
	return r;
}

const char *child_name(const struct row *r, pid_t pid)
{
	if (pid > 0 && pid == shared->other)
		return "the other child";
	if (pid > 0 && pid == r->pid)
		return "the child";
	return pid == -1 ? "a child" : pid == 0 ? "nobody" : pid == NO_PID ? "unset" : "another process";
}

void say_seen(const struct row *r, const char *how, const struct seen *s)
{
	say("  %s: ", how);
	if (s->ret > 0)
		say("%s", child_name(r, s->ret));
	else
		say("%ld", s->ret);
	say(", errno %s", errno_name(s->err));
	if (s->has_info)
		say(", signal %d, %s, code %d, status %d, user %d\n", s->info.si_signo,
		    child_name(r, s->info.si_pid), s->info.si_code, s->info.si_status, s->info.si_uid);
	else if (s->status == NO_STATUS)
		say(", no status\n");
	else
		say(", status %x\n", s->status);
}

void reap_by(const struct row *r, const char *how, pid_t pid, int options)
{
	struct seen s = { .ret = 0, .status = NO_STATUS };
	char text[80];

	snprintf(text, sizeof text, "%s by %s", how, r->reap->name);
	errno = SENTINEL;
	r->reap->go(pid, options, &s);
	if (!s.err)
		s.err = errno;
	say_seen(r, text, &s);
}
