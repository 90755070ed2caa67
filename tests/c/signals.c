/* signals MODE: hosts that are busy with signals while they start jobs. The handlers act by the rules for
 * handlers; what they see, and what is left when all is over, must not depend on how long a start takes. */
#include "jobs.h"
#include "start.h"
#include <link.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

enum { JOBS = 8 };

static pid_t pids[64];
static volatile sig_atomic_t ends, wrong;

/* The n-th job, which exits with n. */
static char **job(int n)
{
	static char number[12], *argv[] = { NULL, "-b", "3", "-s", "30", "-x", number, NULL };

	argv[0] = getenv("JOB");
	snprintf(number, sizeof number, "%d", n);
	return argv;
}

/* Starts jobs by each door in turn. */
static void start_jobs(int count)
{
	for (int n = 0; n < count; n++) {
		pids[n] = start(n % PIDS, job(n));
		if (pids[n] < 0)
			die("start");
	}
}

/* Reaps what has ended, which must have ended as the n-th job does. */
static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		int n = WEXITSTATUS(status);

		wrong += !WIFEXITED(status) || n >= 64 || pids[n] != pid;
		ends++;
	}
}

static void act(int signo, int flags, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = flags };

	sigemptyset(&sa.sa_mask);
	sigaddset(&sa.sa_mask, SIGUSR2);
	if (sigaction(signo, &sa, NULL))
		die("sigaction");
}

static void mask(int how, int signo)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signo);
	sigprocmask(how, &set, NULL);
}

static void timer(long ms)
{
	struct itimerval every = { { 0, ms * 1000 }, { 0, ms * 1000 } };

	setitimer(ITIMER_REAL, &every, NULL);
}

static int descriptors(void)
{
	int open = 0;

	for (int fd = 0; fd < 1024; fd++)
		open += fcntl(fd, F_GETFD) >= 0;
	return open;
}

static void sum_up(void)
{
	printf("%d ends, %d wrong, then %s\n", ends, wrong,
	       wait(NULL) < 0 && errno == ECHILD ? "ECHILD" : "something else");
}

/* ---- the flags of a handler ------------------------------------------------------------------- */

static char stack[65536];
static int at_work;

/* What a handler sees of itself. */
static void on_child(int signo, siginfo_t *info, void *context)
{
	struct sigaction now;
	int flags = at_work, saved = errno;
	sigset_t held;
	char here;

	sigprocmask(SIG_BLOCK, NULL, &held);
	sigaction(signo, NULL, &now);
	wrong += sigismember(&held, SIGCHLD) != !(flags & SA_NODEFER) || !sigismember(&held, SIGUSR2);
	wrong += (now.sa_handler == SIG_DFL) != !!(flags & SA_RESETHAND);
	wrong += (&here >= stack && &here < stack + sizeof stack) != !!(flags & SA_ONSTACK);
	if (flags & SA_SIGINFO)
		wrong += info->si_signo != SIGCHLD || info->si_code != CLD_EXITED || !context ||
			 info->si_status >= 64 || pids[info->si_status] != info->si_pid;
	reap();
	errno = saved;
}

static void with_flags(void)
{
	static const int all[] = { SA_SIGINFO, SA_NODEFER, SA_RESETHAND, SA_ONSTACK };
	stack_t own = { .ss_sp = stack, .ss_size = sizeof stack };
	int jobs = 0;

	sigaltstack(&own, NULL);
	for (int set = 0; set < 16; set++) {
		at_work = SA_RESTART;
		for (int bit = 0; bit < 4; bit++)
			at_work |= set >> bit & 1 ? all[bit] : 0;
		act(SIGCHLD, at_work, on_child);
		for (int n = 0; n < 3; n++, jobs++) {
			mask(SIG_BLOCK, SIGCHLD);
			pids[jobs] = start(jobs % PIDS, job(jobs));
			mask(SIG_UNBLOCK, SIGCHLD);
		}
		while (ends < jobs) {
			nap(5);
			if (at_work & SA_RESETHAND)
				reap();
		}
	}
	sum_up();
}

/* ---- SIGCHLD blocked -------------------------------------------------------------------------- */

static void nothing(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)info, (void)context;
}

/* Waits for SIGCHLD, which is blocked, in one of the ways to do so. */
static int await(const char *how, int fd)
{
	struct timespec patience = { 60, 0 };
	struct signalfd_siginfo told;
	struct epoll_event event;
	sigset_t child, none;
	siginfo_t info;

	sigemptyset(&none);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	if (!strcmp(how, "sigtimedwait"))
		return sigtimedwait(&child, &info, &patience) == SIGCHLD && info.si_code == CLD_EXITED &&
		       pids[info.si_status] == info.si_pid;
	if (!strcmp(how, "ppoll"))
		return ppoll(NULL, 0, &patience, &none) < 0 && errno == EINTR;
	if (!strcmp(how, "pselect"))
		return pselect(0, NULL, NULL, NULL, &patience, &none) < 0 && errno == EINTR;
	if (!strcmp(how, "sigsuspend"))
		return sigsuspend(&none) < 0 && errno == EINTR;
	return epoll_wait(fd, &event, 1, 60000) == 1 &&
	       read(event.data.fd, &told, sizeof told) == sizeof told && told.ssi_code == CLD_EXITED &&
	       pids[told.ssi_status] == (pid_t)told.ssi_pid;
}

static void blocked(const char *how)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = { .events = EPOLLIN };
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	mask(SIG_BLOCK, SIGCHLD);
	if (!strcmp(how, "epoll")) {
		event.data.fd = signalfd(-1, &child, SFD_CLOEXEC);
		epoll_ctl(fd, EPOLL_CTL_ADD, event.data.fd, &event);
	} else {
		act(SIGCHLD, 0, nothing);
	}
	start_jobs(JOBS);
	while (ends < JOBS) {
		wrong += !await(how, fd);
		reap();
	}
	sum_up();
}

/* ---- a handler that jumps out of a start that waits -------------------------------------------- */

static sigjmp_buf back;
static volatile sig_atomic_t jumps;
static uintptr_t from, to;

/* Where the library lies, if it is there. */
static int find(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)size, (void)data;
	for (int n = 0; strstr(info->dlpi_name, "libjsshim") && n < info->dlpi_phnum; n++)
		if (info->dlpi_phdr[n].p_flags & PF_X) {
			from = info->dlpi_addr + info->dlpi_phdr[n].p_vaddr;
			to = from + info->dlpi_phdr[n].p_memsz;
		}
	return 0;
}

enum { ANY, OF_LIBRARY };

/* Has rt_sigprocmask(2) put a mask back, from one that blocks all but faults? So does a gate that lets nothing of the
 * host run while it waits; what else the library does under a mask blocks faults, too. */
static int restores(int how, const uint64_t *before)
{
	return how == SIG_SETMASK && before && *before >> (SIGALRM - 1) & 1 && !(*before >> (SIGSEGV - 1) & 1);
}

/* Was a system call broken off, of the library or of anybody? Or does a gate of the library end? */
static int broken_off(const ucontext_t *at, int whose)
{
#ifdef __x86_64__
	const greg_t *regs = at->uc_mcontext.gregs;
	uintptr_t pc = regs[REG_RIP];
	long result = regs[REG_RAX];
	int is_mask = regs[REG_R10] == 8, how = regs[REG_RDI];
	const uint64_t *before = (const uint64_t *)regs[REG_RDX];
#else
	/* The first argument has made room for the result. */
	const unsigned long long *regs = at->uc_mcontext.regs;
	uintptr_t pc = at->uc_mcontext.pc;
	long result = regs[0];
	int is_mask = regs[8] == SYS_rt_sigprocmask, how = SIG_SETMASK;
	const uint64_t *before = (const uint64_t *)regs[2];
#endif
	int in_library = pc >= from && pc < to;

	if (whose == OF_LIBRARY)
		return in_library && (result == -EINTR || (result == 0 && is_mask && restores(how, before)));
	return result == -EINTR;
}

static void on_signal_jump(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)info;
	/* Elsewhere a jump could lose a child that exists. */
	if (broken_off(context, OF_LIBRARY)) {
		jumps++;
		siglongjmp(back, 1);
	}
}

/* By an alarm, or by the end of a job. More jumps than there are places for anything in the library. */
static void jump(int signo, int doors, int count)
{
	int before = descriptors();

	dl_iterate_phdr(find, NULL);
	act(signo, SA_RESTART, on_signal_jump);
	for (volatile int n = 0; n < count; n++) {
		sigsetjmp(back, 1);
		if (signo == SIGALRM)
			timer(5);
		pids[n] = start(doors < 0 ? n % PIDS : doors, job(n));
		timer(0);
		if (n % 2)
			reap();
	}
	while (ends < count) {
		nap(5);
		reap();
	}
	printf("%d more descriptors\n", descriptors() - before);
	if (to && !jumps)
		puts("the handler never jumped");
	sum_up();
}

/* ---- a handler that jumps out of system(3) ------------------------------------------------------ */

static void on_alarm_leave(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)info;
	/* All that can be broken off there is its wait for the shell. */
	if (broken_off(context, ANY)) {
		jumps++;
		siglongjmp(back, 1);
	}
}

/* libc kills and reaps the shell then. The jobs before it and after it are as always. */
static void leave_system(int before)
{
	act(SIGALRM, 0, on_alarm_leave);
	start_jobs(before);
	for (volatile int n = 0; n < JOBS; n++) {
		if (!sigsetjmp(back, 1)) {
			timer(5);
			printf("%d\n", system("exec sleep 90"));
		}
		timer(0);
	}
	for (int n = before; n < JOBS; n++)
		pids[n] = start(n % PIDS, job(n));
	while (ends < JOBS) {
		nap(5);
		reap();
	}
	printf("%d jumps\n", jumps);
	sum_up();
}

/* ---- a handler that starts jobs ---------------------------------------------------------------- */

static volatile sig_atomic_t begun = JOBS;
static int handlers_door;

static void on_alarm_start(int signo, siginfo_t *info, void *context)
{
	char *argv[] = { getenv("JOB"), "-s", "40", "-x", NULL, NULL }, number[3] = { 0 };
	int n = begun, saved = errno;

	(void)signo, (void)info, (void)context;
	if (n >= 2 * JOBS)
		return;
	/* Only what a handler may do. */
	number[0] = '0' + n / 10;
	number[1] = '0' + n % 10;
	argv[4] = number;
	pids[n] = handlers_door == VFORK ? vfork() : handlers_door == FORK ? fork() : _Fork();
	if (pids[n] == 0) {
		execv(argv[0], argv);
		_exit(127);
	}
	begun++;
	errno = saved;
}

static pid_t reaped[2 * JOBS];

/* Which pid it should be, the main line may not have noted yet. */
static void on_child_start(int signo, siginfo_t *info, void *context)
{
	int saved = errno, status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (WIFEXITED(status) && WEXITSTATUS(status) < 2 * JOBS)
			reaped[WEXITSTATUS(status)] = pid;
		ends++;
	}
	on_alarm_start(signo, info, context);
	errno = saved;
}

/* As many by the handler as by the main line, most of them while that one waits in a start. */
static void handler_starts(int signo, int mains, int handlers)
{
	handlers_door = handlers;
	if (signo == SIGCHLD)
		act(signo, SA_RESTART, on_child_start);
	else
		act(signo, 0, on_alarm_start), timer(20);
	for (int n = 0; n < JOBS; n++) {
		pids[n] = start(mains, job(n));
		if (pids[n] < 0)
			die("start");
	}
	while (begun < 2 * JOBS)
		nap(5);
	timer(0);
	while (ends < 2 * JOBS) {
		nap(5);
		if (signo != SIGCHLD)
			reap();
	}
	for (int n = 0; signo == SIGCHLD && n < 2 * JOBS; n++)
		wrong += reaped[n] != pids[n];
	sum_up();
}

/* ---- alarms all the time ------------------------------------------------------------------------ */

/* No start may fail with EINTR, and none may be broken off. */
static void alarms(void)
{
	act(SIGALRM, 0, nothing);
	timer(5);
	start_jobs(JOBS);
	for (int door = 0; door < DOORS; door++)
		printf("%s: %d\n", door_names[door], run(door, "exit 7"));
	timer(0);
	while (ends < JOBS) {
		nap(5);
		reap();
	}
	sum_up();
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "", *what = argc > 2 ? argv[2] : "";
	int (*is)(const char *, const char *) = strcmp, first, second;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!is(mode, "flags"))
		with_flags();
	else if (!is(mode, "blocked"))
		blocked(what);
	else if (!is(mode, "jumps"))
		jump(SIGALRM, is(what, "all") ? atoi(what) : -1, 12);
	else if (!is(mode, "child-jumps"))
		jump(SIGCHLD, is(what, "all") ? atoi(what) : -1, 12);
	else if (!is(mode, "handler-starts") && sscanf(what, "%d-%d", &first, &second) == 2)
		handler_starts(SIGALRM, first, second);
	else if (!is(mode, "child-starts") && sscanf(what, "%d-%d", &first, &second) == 2)
		handler_starts(SIGCHLD, first, second);
	else if (!is(mode, "leaves-system"))
		leave_system(atoi(what));
	else if (!is(mode, "alarms"))
		alarms();
	else
		return 95;
	wait_for_go();
	puts("end");
	return 5;
}
