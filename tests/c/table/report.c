/* What is seen from inside a process. */
#include "table.h"
#include <dirent.h>
#include <stdarg.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

extern const char *strerrorname_np(int) __attribute__((weak));

static char text[1 << 17];
static size_t used;

void say(const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text + used, sizeof text - used, format, args);
	va_end(args);
	if (n > 0 && used + n < sizeof text)
		used += n;
}

void forget(void)
{
	used = 0;
}

void flush(int fd)
{
	size_t done = 0;

	while (done < used) {
		ssize_t n = write(fd, text + done, used - done);

		if (n > 0)
			done += n;
		else if (errno != EINTR)
			break;
	}
	forget();
}

/* What glibc 2.32 has. */
static const char *own_name(int e)
{
#define NAME(E) if (e == E) return #E
	NAME(EACCES);
	NAME(EBADF);
	NAME(ECHILD);
	NAME(EINTR);
	NAME(ENOENT);
	NAME(ENOEXEC);
#undef NAME
	return strerror(e);
}

const char *errno_name(int e)
{
	const char *name = strerrorname_np ? strerrorname_np(e) : own_name(e);

	return e == SENTINEL ? "untouched" : name ? name : "?";
}

/* What the run's own folder is in has another name each time. */
void say_path(const char *path)
{
	const char *end = strrchr(folder, '/'), *at;
	size_t n = end ? end - folder : 0;

	while (n && (at = memmem(path, strlen(path), folder, n))) {
		say("%.*s@", (int)(at - path), path);
		path = at + n;
	}
	say("%s", path);
}

void say_set(const char *what, const sigset_t *set)
{
	say("  %s:", what);
	for (int sig = 1; sig < NSIG; sig++)
		if (sigismember(set, sig) == 1)
			say(" %d", sig);
	say("\n");
}

static void say_dispositions(void)
{
	for (int sig = 1; sig < NSIG; sig++) {
		struct sigaction a;

		if (sigaction(sig, NULL, &a) < 0 || (a.sa_handler == SIG_DFL && a.sa_flags == 0))
			continue;
		say("  on %d: %s, flags %x\n", sig, handler_name(a.sa_handler), a.sa_flags);
		if (a.sa_handler != SIG_IGN && a.sa_handler != SIG_DFL)
			say_set("  its mask", &a.sa_mask);
	}
}

static void say_signals(void)
{
	sigset_t set;
	stack_t stack;

	say_dispositions();
	sigprocmask(SIG_BLOCK, NULL, &set);
	say_set("mask", &set);
	sigpending(&set);
	say_set("pending", &set);
	sigaltstack(NULL, &stack);
	say("  signal stack: %s\n", stack.ss_flags & SS_DISABLE ? "none" : "one");
}

static const char *kind_of(int fd, const struct stat *st, char *name, size_t room)
{
	char link[32];
	ssize_t n;

	if (isatty(fd))
		return "terminal";
	if (S_ISFIFO(st->st_mode))
		return "pipe";
	if (S_ISSOCK(st->st_mode))
		return "socket";
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, name, room - 1);
	name[n > 0 ? n : 0] = 0;
	return strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
}

/* Says which lower descriptor is of the same file, if one is. */
static void say_same(int fd, const struct stat *st)
{
	struct stat other;

	for (int lower = 0; lower < fd; lower++)
		if (fstat(lower, &other) == 0 && other.st_dev == st->st_dev &&
		    other.st_ino == st->st_ino) {
			say(", as %d", lower);
			return;
		}
}

static void say_descriptors(void)
{
	DIR *list = opendir("/proc/self/fd");
	struct dirent *entry;

	while (list && (entry = readdir(list))) {
		int fd = atoi(entry->d_name);
		struct stat st;
		char name[4096] = "";

		if (*entry->d_name == '.' || fd == dirfd(list) || fstat(fd, &st) < 0)
			continue;
		say("  fd %d: %s%o %s", fd, fcntl(fd, F_GETFD) & FD_CLOEXEC ? "cloexec " : "",
		    fcntl(fd, F_GETFL), kind_of(fd, &st, name, sizeof name));
		/* Those without a file of their own share one. */
		if (strncmp(name, "anon_inode", 10))
			say_same(fd, &st);
		say("\n");
	}
	if (list)
		closedir(list);
}

static const char *relation(pid_t id, pid_t drivers)
{
	return id == getpid() ? "its own" : id == drivers ? "the driver's" : "another";
}

static void say_limits(void)
{
	static const int which[] = { RLIMIT_NOFILE, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_NPROC };
	int fate = 0;

	for (size_t i = 0; i < sizeof which / sizeof *which; i++) {
		struct rlimit l = { 0, 0 };

		getrlimit(which[i], &l);
		say("  limit %d: %lx %lx\n", which[i], (long)l.rlim_cur, (long)l.rlim_max);
	}
	prctl(PR_GET_PDEATHSIG, &fate);
	say("  nice %d, signal at the parent's end %d\n", getpriority(PRIO_PROCESS, 0), fate);
}

static void say_place(void)
{
	char cwd[4096] = "";
	mode_t mask = umask(0);
	struct itimerval timer;

	umask(mask);
	if (!getcwd(cwd, sizeof cwd))
		cwd[0] = 0;
	say("  in ");
	say_path(cwd);
	say(", umask %o\n", mask);
	say("  group %s, session %s, parent %s\n", relation(getpgrp(), getpgid(shared->driver)),
	    relation(getsid(0), getsid(shared->driver)),
	    getppid() == shared->driver ? "the driver" : "another");
	for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
		getitimer(which, &timer);
		say("  timer %d: %s, %s\n", which, timer.it_value.tv_sec ? "runs" : "does not run",
		    timer.it_interval.tv_sec ? "again and again" : "once");
	}
}

static void say_program(void)
{
	char name[4096];
	ssize_t n = readlink("/proc/self/exe", name, sizeof name - 1);
	const char *by = (const char *)getauxval(AT_EXECFN);

	name[n > 0 ? n : 0] = 0;
	say("  program %s, started as ", strrchr(name, '/') ? strrchr(name, '/') + 1 : name);
	say_path(by ? by : "");
	prctl(PR_GET_NAME, name);
	say(", called %s\n", name);
}

void say_environment(void)
{
	for (char **e = environ; e && *e; e++) {
		say("  env ");
		say_path(*e);
		say("\n");
	}
}

void report(int with_program)
{
	if (with_program)
		say_program();
	say_descriptors();
	say_signals();
	say_place();
	say_limits();
}

void flush_to_file(void)
{
	char path[4200];
	int fd;

	snprintf(path, sizeof path, "%s/report", folder);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	flush(fd);
	close(fd);
}
