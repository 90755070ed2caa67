/* One row: a door, what it starts, how that ends and how it is collected. */
#include "table.h"
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int with_other, number;

/* What a row does with its child besides. */
enum { PLAIN, HANGS_NOT, STOPS, LEAVES, KILLS };
static const char *const besides[] = { "", ", looked for too early", ", stopped and continued",
				       ", looked at first", ", killed at once" };

static const char *const bares[] = { "", " without variables", " without an environment",
				     " without arguments" };

/* ---- before and after --------------------------------------------------------------------- */

static void start_other(void)
{
	char *argv[] = { "other", folder, NULL };
	pid_t pid = 0;

	if (with_other && posix_spawn(&pid, "bin/other", NULL, NULL, argv, environ))
		perror("the other child");
	shared->other = pid;
}

static void begin(const struct row *r, int end, int what)
{
	memset(shared, 0, sizeof *shared);
	shared->driver = getpid();
	shared->exec_returned = SENTINEL;
	shared->patient = r->counted && !(r->door->traits & BLOCKS);
	shared->end = end;
	shared->exit_by = number;
	shared->stops = what == STOPS;
	shared->waits = what == HANGS_NOT || what == STOPS || what == KILLS;
	shared->speaks = r->door->traits & COMMAND && !(r->door->traits & WRITES);
	shared->listens = r->door->traits & WRITES;
	condition->set();
	shared->handles = condition->handles && !(r->door->traits & BLOCKS);
	shared->reaps = !strcmp(condition->name, "reaping");
	start_other();
	/* A forked child has a copy of what is not written yet. */
	flush(1);
}

/* What a child has said that was killed at once is not to be compared. */
static void say_report(int silent)
{
	char path[4200], text[8192];
	int fd, n;

	if (!silent)
		say("  handlers of fork: %d %d %d\n", shared->prepared, shared->parents,
		    shared->children);
	snprintf(path, sizeof path, "%s/report", folder);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (!silent)
		say(" in the child:\n");
	while (!silent && (n = read(fd, text, sizeof text)) > 0)
		say("%.*s", n, text);
	close(fd);
	unlink(path);
}

/* A door that waits for its slot lets the other child end first. So where the row's child ends before the
 * door returns, or is killed, only the number of calls can be compared; and where SIGCHLD is blocked
 * meanwhile (system), only whether there were any. */
static void say_calls(const struct row *r)
{
	for (int i = 0; i < shared->calls && i < MOST_CALLS; i++) {
		const struct call *c = &shared->log[i];

		if (r->counted)
			say("  a call\n");
		else
			say("  call for %s: code %d, status %x, mask %lx, then %lx%s\n",
			    child_name(r, c->pid), c->code, c->status, c->mask, c->mask_after,
			    c->on_stack ? ", on its stack" : "");
		if (r->counted && r->door->traits & BLOCKS)
			return;
	}
}

static void say_environment_kept(void)
{
	static char **first, *copy[512];
	int n = 0, same = 1;

	if (!first) {
		first = environ;
		for (; n < 511 && environ[n]; n++)
			copy[n] = environ[n];
	}
	for (n = 0; copy[n] || environ[n]; n++)
		if (!(same = same && copy[n] == environ[n]))
			break;
	say("  environment %s\n", same && first == environ ? "as before" : "changed");
}

static void end(struct row *r, int silent)
{
	long left;

	condition->drain();
	say_calls(r);
	if (shared->exec_returned != SENTINEL)
		say("  its exec: %d, errno %s\n", shared->exec_returned, errno_name(shared->exec_errno));
	say_report(silent);
	say(" in the driver:\n");
	report(0);
	say_environment_kept();
	condition->unset();
	if (r->master >= 0)
		close(r->master);
	left = syscall(SYS_wait4, -1, NULL, WNOHANG | __WALL, NULL);
	if (left != -1 || errno != ECHILD)
		say("  a child is left: %s\n", child_name(r, left));
	if (*shared->late)
		say("  waited in vain for %s\n", shared->late);
	flush(1);
}

/* ---- between ------------------------------------------------------------------------------ */

/* By the kernel itself. When it says so, the signal has been sent. */
static void await_end(pid_t pid)
{
	while (syscall(SYS_waitid, P_PID, pid, NULL, WEXITED | WNOWAIT, NULL) < 0 && errno == EINTR)
		;
}

/* A handler that reaps is to be first, or it and the door would race. */
static void await_reaping(const struct row *r)
{
	int told = (r->pid > 0 && (r->exec || !(r->door->traits & QUIET))) || r->stream;
	int n = told + with_other;

	if (shared->reaps)
		await_reaped(n);
}

/* Each of the two is a call of its own, unless the handler was not to be called for such. */
static void stop_and_continue(const struct row *r)
{
	struct sigaction a;
	int hears;

	sigaction(SIGCHLD, NULL, &a);
	hears = !(a.sa_flags & SA_NOCLDSTOP);
	reap_by(r, "stopped", r->pid, WUNTRACED);
	await_calls(condition->once ? 1 : with_other + hears);
	kill(r->pid, SIGCONT);
	reap_by(r, "continued", r->pid, WCONTINUED);
	await_step();
	await_calls(condition->once ? 1 : with_other + 2 * hears);
	shared->go_child = 1;
}

static void collect(const struct row *r)
{
	await_reaping(r);
	if (r->reap->any) {
		for (int n = with_other + (r->pid > 0); n >= 0; n--)
			reap_by(r, "reaped", -1, 0);
		return;
	}
	if (r->pid > 0)
		reap_by(r, "reaped", r->pid, r->door->traits & QUIET ? __WALL : 0);
	if (shared->other)
		reap_by(r, "reaped", shared->other, 0);
}

static void between(struct row *r, int what)
{
	if (what == HANGS_NOT) {
		reap_by(r, "not yet reaped", r->pid, WNOHANG);
		shared->go_child = 1;
	}
	if (what == KILLS)
		kill(r->pid, SIGTERM);
	/* A vfork returns before its child has quite ended. */
	if (what == KILLS || (r->fails && r->door->traits & SHARES))
		await_end(r->pid);
	await_other();
	if (what == STOPS)
		stop_and_continue(r);
	if (what == LEAVES) {
		struct row look = *r;

		look.reap = nth_reap(5, 0);
		await_reaping(r);
		reap_by(&look, "seen", r->pid, WNOWAIT);
		reap_by(&look, "seen again", r->pid, WNOWAIT | WNOHANG);
	}
	if (r->stream) {
		await_reaping(r);
		finish_stream(r);
	}
	collect(r);
	if (r->door->traits & OUTLIVES)
		await_daemon();
}

static void run(struct row r, int what)
{
	static const int ends[] = { 5, 0, -SIGTERM, 255, -SIGKILL };
	int end_with = ends[number % 5];

	r.reap = r.reap ? r.reap : nth_reap(number, !(r.door->traits & QUIET));
	r.program = r.program ? r.program : "target";
	r.pid = NO_PID;
	r.master = -1;
	/* It could be told of its parent's end. */
	if (r.door->traits & OUTLIVES)
		r.dressed = 0;
	say("== %s%s%s: %s%s%s, by %s%s\n", r.door->name, r.exec ? ", " : "",
	    r.exec ? r.exec->name : "", r.program, r.dressed ? ", dressed" : "", bares[r.bare],
	    r.reap->name, besides[what]);
	number++;
	if (is_absent(r.door, r.exec)) {
		say("  absent\n");
		flush(1);
		return;
	}
	aim(&r);
	r.counted = with_other && ((r.fails && r.door->traits & INSIDE) ||
				   r.door->traits & BLOCKS || what == KILLS);
	begin(&r, end_with, what);
	errno = SENTINEL;
	r.door->start(&r);
	r.err = errno;
	if (r.ret > 0 && r.ret == r.pid)
		say("  returned a pid, errno %s\n", errno_name(r.err));
	else
		say("  returned %ld, pid %s, errno %s\n", r.ret, child_name(&r, r.pid), errno_name(r.err));
	between(&r, what);
	end(&r, what == KILLS);
}

/* ---- the list ----------------------------------------------------------------------------- */

static int wordexp_races(const struct door *d)
{
	/* Who reaps its child first, wordexp or the handler? In musl a handler may also end its reading. */
	int races = is_glibc() ? !strcmp(condition->name, "reaping") : condition->handles;

	return races && !strncmp(d->name, "wordexp", 7);
}

static void run_successes(const struct door *d, int n, int all)
{
	if (d->traits & (FORKS | SHARES)) {
		for (int i = 0; i < (all ? 9 : 2); i++) {
			struct row r = { .door = d, .dressed = (n + i) % 3 };

			r.exec = nth_exec(n + i * 4);
			run(r, PLAIN);
		}
		/* The child would tell whether the handler has been reset for the other child yet. */
		if (d->traits & FORKS && !(condition->once && with_other))
			run((struct row){ .door = d, .dressed = n % 2 }, PLAIN);
	} else if (d->traits & SPAWNS) {
		run((struct row){ .door = d }, PLAIN);
		run((struct row){ .door = d, .dressed = 1 }, PLAIN);
	} else {
		run((struct row){ .door = d }, PLAIN);
	}
}

static void run_failures(const struct door *d, int n)
{
	static const char *const programs[] = { "nonexistent", "not-executable", "no-format" };
	int all = strchr(d->name, '@') != NULL;

	for (int i = 0; i < (all ? 3 : 1); i++) {
		struct row r = { .door = d, .program = programs[(n + i) % 3], .fails = 1 };

		if (d->traits & (FORKS | SHARES))
			r.exec = nth_exec(n);
		run(r, PLAIN);
	}
	/* An action that cannot be done. */
	if (d->traits & SPAWNS)
		run((struct row){ .door = d, .dressed = 2, .fails = 1 }, PLAIN);
}

static void run_specials(int n)
{
	static const char *const by[] = { "fork", "posix_spawn", "vfork", "posix_spawnp" };

	for (int what = HANGS_NOT; what <= KILLS; what++)
		for (int i = 0; i < 2; i++) {
			struct row r = { .door = door_named(by[(n + what + i) % 4]) };

			r.reap = nth_reap(n + what + 5 * i, 0);
			if (!(r.door->traits & SPAWNS))
				r.exec = nth_exec(n + what);
			run(r, what);
		}
}

static void run_bares(int n)
{
	static const char *const by[] = { "fork", "execve", "posix_spawn", "", "vfork", "execvpe",
					  "posix_spawnp", "", "fork", "fexecve", "fork", "execveat" };

	for (int bare = NO_VARIABLES; bare <= NO_ARGUMENTS; bare++)
		for (int i = 0; i < 2; i++) {
			int at = (n + bare + 3 * i) % 6 * 2;
			struct row r = { .door = door_named(by[at]), .bare = bare };

			/* Without any argument a program does not know itself by a descriptor. */
			r.exec = exec_named(bare == NO_ARGUMENTS && at >= 8 ? "execve" : by[at + 1]);
			run(r, PLAIN);
		}
}

void run_rows(int index, int other)
{
	with_other = other;
	number = index;
	shared->driver = getpid();
	say("== at the start\n");
	report(0);
	say_environment();
	for (int i = 0; i < n_doors; i++) {
		int all = i < 2 && index % 5 == 0;

		if (wordexp_races(&doors[i]))
			continue;
		run_successes(&doors[i], index + i, all);
		if (!(doors[i].traits & (SAFE | OUTLIVES | QUIET)))
			run_failures(&doors[i], index + i);
	}
	run_specials(index);
	run_bares(index);
}
