/* Every exec door, called in the same way. */
#ifndef EXECS_H
#define EXECS_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;
/* musl has neither. The library shows a hook of the first all the same. */
extern int execveat(int, const char *, char *const *, char *const *, int) __attribute__((weak));
extern const char *gnu_get_libc_version(void) __attribute__((weak));

static inline int is_glibc(void) { return gnu_get_libc_version != NULL; }

enum { ARGS = 20 };

struct target {
	const char *path, *name;
	char *argv[ARGS + 1];
	char **envp;
};

#define EACH(a) \
	a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], \
		a[14], a[15], a[16], a[17], a[18], a[19], (char *)NULL

static int by_execve(struct target *t) { return execve(t->path, t->argv, t->envp); }
static int by_execv(struct target *t) { return execv(t->path, t->argv); }
static int by_execvp(struct target *t) { return execvp(t->name, t->argv); }
static int by_execvpe(struct target *t) { return execvpe(t->name, t->argv, t->envp); }
static int by_execl(struct target *t) { return execl(t->path, EACH(t->argv)); }
static int by_execlp(struct target *t) { return execlp(t->name, EACH(t->argv)); }
/* execle finds its environment after the end mark, so the arguments must not end sooner. */
static int by_execle(struct target *t)
{
	char **a = t->argv;

	if (!a[3])
		return execle(t->path, a[0], a[1], a[2], (char *)NULL, t->envp);
	if (!a[4])
		return execle(t->path, a[0], a[1], a[2], a[3], (char *)NULL, t->envp);
	return execle(t->path, EACH(a), t->envp);
}
static int by_fexecve(struct target *t)
{
	int fd = open(t->path, O_RDONLY | O_PATH);

	return fd < 0 ? -1 : fexecve(fd, t->argv, t->envp);
}
static int by_execveat(struct target *t)
{
	int fd = open("bin", O_RDONLY | O_DIRECTORY | O_CLOEXEC), saved;
	int r = execveat(fd, t->name, t->argv, t->envp, 0);

	saved = errno;
	close(fd);
	errno = saved;
	return r;
}

/* Not in qemu's user mode. */
static inline int has_execveat(void)
{
	return is_glibc() && (syscall(SYS_execveat, -1, "", NULL, NULL, 0) == 0 || errno != ENOSYS);
}

static const struct exec {
	const char *name;
	int (*go)(struct target *);
	int (*there)(void);
} execs[] = {
	{ "execve", by_execve, 0 },   { "execv", by_execv, 0 },
	{ "execvp", by_execvp, 0 },   { "execvpe", by_execvpe, 0 },
	{ "execl", by_execl, 0 },     { "execlp", by_execlp, 0 },
	{ "execle", by_execle, 0 },   { "fexecve", by_fexecve, 0 },
	{ "execveat", by_execveat, has_execveat },
};

#define EXECS (sizeof execs / sizeof *execs)

/* `environ` and one more. */
static inline char **marked(char *mark)
{
	int n = 0;
	char **envp;

	while (environ[n])
		n++;
	envp = calloc(n + 2, sizeof *envp);
	envp[0] = mark;
	memcpy(envp + 1, environ, n * sizeof *envp);
	return envp;
}

#endif
