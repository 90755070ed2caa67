/* What the parts of the table share; see main.c. */
#ifndef TABLE_H
#define TABLE_H

#include "../execs.h"
#include <signal.h>
#include <stdio.h>
#include <sys/types.h>

/* errno before each call: one that no call sets. */
enum { SENTINEL = 4242 };
/* A wait status before each call, and a pid where posix_spawn puts one. */
enum { NO_STATUS = 0x5a5a, NO_PID = -7 };
enum { MOST_CALLS = 24 };

/* ---- what the driver and its children say to each other: a mapped file (shared.c) --------- */

/* One call of the host's handler, or what it took off its queue. */
struct call {
	pid_t pid;
	int code, status, on_stack;
	unsigned long mask, mask_after;
};

struct shared {
	pid_t driver, other;
	/* The driver handles SIGCHLD at once; in its handler it reaps. */
	int handles, reaps;
	volatile int calls, reaped;
	struct call log[MOST_CALLS];
	/* What a child that could not exec got. */
	int exec_returned, exec_errno;
	/* How the child ends (a status, or minus a signal), and what it does before. */
	int end, exit_by, stops, waits, speaks, listens;
	/* Handlers of pthread_atfork that have run. */
	volatile int prepared, parents, children;
	/* The other child stays longer if it is not told to go. */
	int patient;
	volatile int go_other, go_child, step;
	pid_t daemon;
	/* Somebody has waited in vain: what for. */
	char late[40];
	volatile int jobs;
};

extern struct shared *shared;
extern char folder[4096];

void share(int make);
void pause_a_moment(void);
/* Lets the other child end, until it has and the driver has been told. */
void await_other(void);
/* Until the driver's handler has been called that often, if it can be. */
void await_calls(int n);
/* Until it has reaped that many. */
void await_reaped(int n);
/* Until the child has said all that it has to say. */
void await_step(void);
/* The same, and until it has ended: a process that nobody here can reap. */
void await_daemon(void);
/* The rest of a child's life. */
_Noreturn void behave(int with_handlers);

/* ---- what is seen from inside a process (report.c) ---------------------------------------- */

__attribute__((format(printf, 1, 2))) void say(const char *format, ...);
/* Drops what has been said, or writes it. */
void forget(void);
void flush(int fd);
const char *errno_name(int e);
void say_set(const char *what, const sigset_t *set);
/* Everything that a process has and its library could change. */
void report(int with_program);
void say_environment(void);
void say_path(const char *path);
/* What a child says goes to a file, whatever its descriptors are. */
void flush_to_file(void);

/* ---- what the host does with SIGCHLD (conditions.c) --------------------------------------- */

struct condition {
	const char *name;
	void (*set)(void), (*drain)(void), (*unset)(void);
	/* A handler is installed and runs at once, but only once; children that end are gone at once. */
	int handles, once, vanish;
};

extern const struct condition conditions[], *condition;
extern const int n_conditions;
const char *handler_name(void (*handler)(int));

/* ---- doors (spawns.c, reaps.c) ------------------------------------------------------------ */

struct row {
	const struct door *door;
	const struct exec *exec;
	const struct reap *reap;
	/* The program in bin/, and whether it cannot be started. */
	const char *program;
	int fails, dressed, bare, is_job, counted;
	struct target target;
	/* For those that take a command or words. */
	char command[8192];
	/* What came of it. */
	long ret;
	int err;
	pid_t pid;
	FILE *stream;
	int master;
};

enum {
	FORKS = 1,    /* its child may go without exec */
	SHARES = 2,   /* its child runs on its parent's memory */
	SPAWNS = 4,   /* it execs by itself */
	COMMAND = 8,  /* it runs a shell */
	INSIDE = 16,  /* a child that cannot exec ends before the door returns */
	RETURNS = 32, /* the child has ended when the door returns */
	WRITES = 64,  /* the child reads what the row writes */
	QUIET = 128,  /* no signal tells of the child's end, unless it execs */
	BLOCKS = 256, /* SIGCHLD is blocked meanwhile */
	OUTLIVES = 512, /* what is started is nobody's child */
	SAFE = 1024,  /* starts nothing that could fail */
};

struct door {
	const char *name;
	int traits;
	void (*start)(struct row *);
	int (*there)(void);
};

extern const struct door doors[];
extern const int n_doors;
const struct door *door_named(const char *name);
/* This libc lacks one of them. */
int is_absent(const struct door *door, const struct exec *exec);
const struct exec *nth_exec(int n);
const struct exec *exec_named(const char *name);
/* What a forked child does. */
_Noreturn void child_of(struct row *r);
void finish_stream(struct row *r);

struct seen {
	long ret;
	int err, status;
	siginfo_t info;
	int has_info;
};

struct reap {
	const char *name;
	/* Takes whichever child there is; understands options. */
	int any, options;
	void (*go)(pid_t pid, int options, struct seen *);
	int (*there)(void);
};

extern const struct reap reaps[];
extern const int n_reaps;
const struct reap *nth_reap(int n, int any_allowed);
void say_seen(const struct row *r, const char *how, const struct seen *s);
const char *child_name(const struct row *r, pid_t pid);
void reap_by(const struct row *r, const char *how, pid_t pid, int options);

/* Lays out what the door is to start. */
void aim(struct row *r);

/* ---- the other side: is the job counted? (gates.c) ---------------------------------------- */

int gates(const char *door, const char *exec, int threads);
_Noreturn void be_a_job(void);

/* ---- rows (rows.c) ------------------------------------------------------------------------ */

/* What is left out of what the child is given. */
enum { NO_VARIABLES = 1, NO_ENVIRONMENT = 2, NO_ARGUMENTS = 3 };

void run_rows(int index, int with_other);

#endif
