/* Doors through which a child is made. */
#include "table.h"
#include <dlfcn.h>
#include <pty.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <wordexp.h>

extern pid_t __fork(void) __attribute__((weak));
extern pid_t __vfork(void) __attribute__((weak));
extern pid_t _Fork(void) __attribute__((weak));
extern int __clone(int (*)(void *), void *, int, void *, ...) __attribute__((weak));
extern int pidfd_spawn(int *, const char *, const posix_spawn_file_actions_t *,
		       const posix_spawnattr_t *, char *const *, char *const *) __attribute__((weak));
extern int pidfd_spawnp(int *, const char *, const posix_spawn_file_actions_t *,
			const posix_spawnattr_t *, char *const *, char *const *) __attribute__((weak));
extern pid_t pidfd_getpid(int) __attribute__((weak));
extern FILE *_IO_popen(const char *, const char *) __attribute__((weak));

/* ---- the child of those that fork --------------------------------------------------------- */

/* What hosts change in a child before its exec. With kill: the raise of musl believes that a child of vfork is its
 * parent. */
static void dress(const struct row *r)
{
	struct itimerval timer = { { 1000, 0 }, { 1000, 0 } };
	sigset_t set;

	setpgid(0, 0);
	umask(027);
	if (chdir("there") < 0)
		_exit(93);
	setitimer(ITIMER_REAL, &timer, NULL);
	timer.it_interval.tv_sec = 0;
	setitimer(ITIMER_PROF, &timer, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	/* The signal by which a held job is woken. */
	if (r->dressed > 1)
		sigaddset(&set, SIGURG);
	else
		signal(SIGURG, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (r->dressed > 1)
		kill(getpid(), SIGURG);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	kill(getpid(), SIGUSR2);
	setpriority(PRIO_PROCESS, 0, 3);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (!(r->door->traits & SHARES))
		setenv("TABLE_MARK", "dressed", 1);
}

_Noreturn void child_of(struct row *r)
{
	int shares = r->door->traits & SHARES;

	if (r->dressed)
		dress(r);
	if (r->exec) {
		errno = SENTINEL;
		shared->exec_returned = r->exec->go(&r->target);
		shared->exec_errno = errno;
		/* The parent of a vfork could not be told of the other child's end. */
		if (!shares)
			await_other();
		_exit(99);
	}
	if (r->is_job)
		be_a_job();
	forget();
	report(0);
	flush_to_file();
	behave(0);
}

static void by_fork(struct row *r)
{
	r->ret = r->pid = fork();
	if (r->pid == 0)
		child_of(r);
}

static int has___fork(void) { return is_glibc() && __fork; }
static void by___fork(struct row *r)
{
	r->ret = r->pid = __fork();
	if (r->pid == 0)
		child_of(r);
}

static int has__Fork(void) { return _Fork != NULL; }
static void by__Fork(struct row *r)
{
	r->ret = r->pid = _Fork();
	if (r->pid == 0)
		child_of(r);
}

static void by_vfork(struct row *r)
{
	r->pid = vfork();
	if (r->pid == 0)
		child_of(r);
	r->ret = r->pid;
}

static int has___vfork(void) { return is_glibc() && __vfork; }
static void by___vfork(struct row *r)
{
	r->pid = __vfork();
	if (r->pid == 0)
		child_of(r);
	r->ret = r->pid;
}

static void by_forkpty(struct row *r)
{
	r->ret = r->pid = forkpty(&r->master, NULL, NULL, NULL);
	if (r->pid == 0)
		child_of(r);
}

/* Of a process that has a parent to spare. */
static void by_daemon(struct row *r)
{
	r->ret = r->pid = fork();
	if (r->pid)
		return;
	await_other();
	if (daemon(1, r->exec != NULL) < 0)
		_exit(94);
	/* Its parent has a handler to run and nobody to wait for. */
	while (!is_glibc() && shared->parents < shared->prepared)
		pause_a_moment();
	child_of(r);
}

static char clone_stack[256 * 1024] __attribute__((aligned(16)));

static int cloned(void *row)
{
	child_of(row);
}

static void by_clone(struct row *r)
{
	r->ret = r->pid = clone(cloned, clone_stack + sizeof clone_stack, SIGCHLD, r);
}

/* Its end is told to nobody, unless it execs. */
static void by_clone_quietly(struct row *r)
{
	r->ret = r->pid = clone(cloned, clone_stack + sizeof clone_stack, 0, r);
}

/* Not in qemu's user mode. */
static int has_quiet_clone(void)
{
	pid_t pid = syscall(SYS_clone, 0, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return pid > 0 && waitpid(pid, NULL, __WALL) == pid;
}

static int has___clone(void) { return is_glibc() && __clone; }
static void by___clone(struct row *r)
{
	pid_t there = 0;
	int flags = SIGCHLD | CLONE_PARENT_SETTID;

	r->ret = r->pid = __clone(cloned, clone_stack + sizeof clone_stack, flags, r, &there);
	if (there != r->pid)
		say("  the pid is not where it was asked for\n");
}

static void by_clone_vfork(struct row *r)
{
	int flags = CLONE_VM | CLONE_VFORK | SIGCHLD;

	r->ret = r->pid = clone(cloned, clone_stack + sizeof clone_stack, flags, r);
}

/* ---- those that exec by themselves -------------------------------------------------------- */

typedef int spawn_fn(pid_t *, const char *, const posix_spawn_file_actions_t *,
		     const posix_spawnattr_t *, char *const *, char *const *);

/* From old.c. */
static spawn_fn *old_spawn, *old_spawnp;

static int has_old(void)
{
	void *library = dlopen(getenv("TABLE_OLD"), RTLD_NOW);

	if (!library)
		return 0;
	old_spawn = (spawn_fn *)dlsym(library, "old_spawn");
	old_spawnp = (spawn_fn *)dlsym(library, "old_spawnp");
	return old_spawn && old_spawnp;
}

struct extras {
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
};

static void lay_out_extras(struct extras *x, int bad)
{
	sigset_t set;

	posix_spawnattr_init(&x->attributes);
	posix_spawnattr_setflags(&x->attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
							 POSIX_SPAWN_SETPGROUP);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	posix_spawnattr_setsigmask(&x->attributes, &set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	posix_spawnattr_setsigdefault(&x->attributes, &set);
	posix_spawn_file_actions_init(&x->actions);
	posix_spawn_file_actions_addopen(&x->actions, 7, "bin/no-format", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&x->actions, 1, 8);
	posix_spawn_file_actions_addclose(&x->actions, 0);
	posix_spawn_file_actions_addchdir_np(&x->actions, "there");
	if (bad)
		posix_spawn_file_actions_adddup2(&x->actions, 555, 9);
}

static void spawn_by(spawn_fn *spawn, int search, struct row *r)
{
	const char *file = search ? r->target.name : r->target.path;
	const posix_spawn_file_actions_t *actions = NULL;
	const posix_spawnattr_t *attributes = NULL;
	struct extras x;

	if (r->dressed) {
		lay_out_extras(&x, r->fails && r->dressed > 1);
		actions = &x.actions;
		attributes = &x.attributes;
	}
	errno = SENTINEL;
	r->ret = spawn(&r->pid, file, actions, attributes, r->target.argv, r->target.envp);
	r->err = errno;
	if (r->dressed) {
		posix_spawn_file_actions_destroy(&x.actions);
		posix_spawnattr_destroy(&x.attributes);
	}
	errno = r->err;
}

static void by_posix_spawn(struct row *r) { spawn_by(posix_spawn, 0, r); }
static void by_posix_spawnp(struct row *r) { spawn_by(posix_spawnp, 1, r); }
static void by_old_posix_spawn(struct row *r) { spawn_by(old_spawn, 0, r); }
static void by_old_posix_spawnp(struct row *r) { spawn_by(old_spawnp, 1, r); }

/* These give a descriptor in place of the pid. */
static void through_pidfd(spawn_fn *spawn, int search, struct row *r)
{
	spawn_by(spawn, search, r);
	if (r->pid < 0)
		return;
	r->master = r->pid;
	r->pid = pidfd_getpid(r->master);
	errno = r->err;
}

static int has_pidfd_spawn(void) { return pidfd_spawn && pidfd_spawnp && pidfd_getpid; }
static void by_pidfd_spawn(struct row *r) { through_pidfd(pidfd_spawn, 0, r); }
static void by_pidfd_spawnp(struct row *r) { through_pidfd(pidfd_spawnp, 1, r); }

/* ---- those that run a shell --------------------------------------------------------------- */

static void by_system(struct row *r)
{
	r->ret = system(r->command);
}

static void open_stream(struct row *r, const char *mode, FILE *(*open)(const char *, const char *))
{
	r->stream = open(r->command, mode);
	r->err = errno;
	r->ret = r->stream ? 1 : 0;
	/* One that could not start would not read, nor does a job, which may have ended by now. */
	if (r->stream && *mode == 'w' && !r->fails && !r->is_job) {
		fputs("text for the child\n", r->stream);
		fflush(r->stream);
	}
	errno = r->err;
}

static void by_popen(struct row *r) { open_stream(r, "r", popen); }
static void by_popen_cloexec(struct row *r) { open_stream(r, "re", popen); }
static void by_popen_writing(struct row *r) { open_stream(r, "w", popen); }
static void by_io_popen(struct row *r) { open_stream(r, "r", _IO_popen); }
static int has_io_popen(void) { return is_glibc() && _IO_popen; }

void finish_stream(struct row *r)
{
	int f = !strcmp(r->door->name, "popen, fclose");
	char line[256];

	if (!r->stream)
		return;
	while (!(r->door->traits & WRITES) && fgets(line, sizeof line, r->stream))
		say("  from the stream: %s", line);
	errno = SENTINEL;
	r->ret = f ? fclose(r->stream) : pclose(r->stream);
	r->err = errno;
	say("  %s: %lx, errno %s\n", f ? "fclose" : "pclose", r->ret, errno_name(r->err));
	r->stream = NULL;
}

static void expand(struct row *r, const char *format, int flags)
{
	char words[sizeof r->command + 32];
	wordexp_t w = { 0 };

	snprintf(words, sizeof words, format, r->command);
	errno = SENTINEL;
	r->ret = wordexp(words, &w, flags);
	r->err = errno;
	for (size_t i = 0; r->ret == 0 && i < w.we_wordc; i++) {
		say("  word: ");
		say_path(w.we_wordv[i]);
		say("\n");
	}
	if (r->ret == 0)
		wordfree(&w);
	errno = r->err;
}

static void by_wordexp(struct row *r) { expand(r, "first $(%s) last", 0); }
static void by_wordexp_errors(struct row *r) { expand(r, "`%s`", WRDE_SHOWERR); }
static void by_wordexp_refused(struct row *r) { expand(r, "$(%s)", WRDE_NOCMD); }
static void by_wordexp_alone(struct row *r) { expand(r, "words $HOME '%.1s'", 0); }

const struct door doors[] = {
	{ "fork", FORKS, by_fork, NULL },
	{ "vfork", SHARES | INSIDE, by_vfork, NULL },
	{ "__fork", FORKS, by___fork, has___fork },
	{ "_Fork", FORKS, by__Fork, has__Fork },
	{ "__vfork", SHARES | INSIDE, by___vfork, has___vfork },
	{ "clone", FORKS, by_clone, NULL },
	{ "__clone", FORKS, by___clone, has___clone },
	{ "clone without a signal", FORKS | QUIET, by_clone_quietly, has_quiet_clone },
	{ "clone as vfork", SHARES | INSIDE, by_clone_vfork, NULL },
	{ "forkpty", FORKS, by_forkpty, NULL },
	{ "daemon", FORKS | OUTLIVES, by_daemon, NULL },
	{ "posix_spawn", SPAWNS | INSIDE, by_posix_spawn, NULL },
	{ "posix_spawnp", SPAWNS | INSIDE, by_posix_spawnp, NULL },
	{ "posix_spawn@GLIBC_2.2.5", SPAWNS | INSIDE, by_old_posix_spawn, has_old },
	{ "posix_spawnp@GLIBC_2.2.5", SPAWNS | INSIDE, by_old_posix_spawnp, has_old },
	{ "pidfd_spawn", SPAWNS | INSIDE, by_pidfd_spawn, has_pidfd_spawn },
	{ "pidfd_spawnp", SPAWNS | INSIDE, by_pidfd_spawnp, has_pidfd_spawn },
	{ "system", COMMAND | RETURNS | BLOCKS, by_system, NULL },
	{ "popen, pclose", COMMAND, by_popen, NULL },
	/* musl does not wait for the child there. */
	{ "popen, fclose", COMMAND, by_popen_cloexec, is_glibc },
	{ "popen for writing", COMMAND | WRITES, by_popen_writing, NULL },
	{ "_IO_popen", COMMAND, by_io_popen, has_io_popen },
	{ "wordexp", COMMAND | RETURNS, by_wordexp, NULL },
	{ "wordexp with its errors", COMMAND | RETURNS, by_wordexp_errors, NULL },
	{ "wordexp that may not", COMMAND | RETURNS | SAFE, by_wordexp_refused, NULL },
	{ "wordexp without a command", COMMAND | RETURNS | SAFE, by_wordexp_alone, NULL },
};

const int n_doors = sizeof doors / sizeof *doors;

const struct door *door_named(const char *name)
{
	for (int i = 0; i < n_doors; i++)
		if (!strcmp(doors[i].name, name))
			return &doors[i];
	return NULL;
}

int is_absent(const struct door *door, const struct exec *exec)
{
	return (door->there && !door->there()) || (exec && exec->there && !exec->there());
}

const struct exec *nth_exec(int n)
{
	return &execs[n % EXECS];
}

const struct exec *exec_named(const char *name)
{
	for (size_t i = 0; i < EXECS; i++)
		if (!strcmp(execs[i].name, name))
			return &execs[i];
	return NULL;
}
