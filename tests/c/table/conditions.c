/* What the host does with SIGCHLD while a row runs. */
#include "table.h"
#include <sys/signalfd.h>
#include <sys/ucontext.h>
#include <sys/wait.h>

static char stack[64 * 1024];
static int signal_fd = -1;

/* ---- handlers --------------------------------------------------------------------------- */

static unsigned long word(const sigset_t *set)
{
	unsigned long word;

	memcpy(&word, set, sizeof word);
	return word;
}

/* A child that does not exec has the handlers, too, and may have children. */
static int is_driver(void)
{
	return getpid() == shared->driver;
}

static void log_call(const siginfo_t *info, const void *context)
{
	int n = __atomic_fetch_add(&shared->calls, 1, __ATOMIC_SEQ_CST);
	struct call *c = &shared->log[n < MOST_CALLS ? n : MOST_CALLS - 1];
	sigset_t mask;

	*c = (struct call){ .pid = -1 };
	if (info) {
		c->pid = info->si_pid;
		c->code = info->si_code;
		c->status = info->si_status;
	}
	c->on_stack = (char *)&n >= stack && (char *)&n < stack + sizeof stack;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	c->mask = word(&mask);
	if (context)
		c->mask_after = word(&((const ucontext_t *)context)->uc_sigmask);
}

static void on_child(int sig)
{
	(void)sig;
	if (is_driver())
		log_call(NULL, NULL);
}

static void on_child_info(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	if (is_driver())
		log_call(info, context);
}

/* As many programs do: everything that has ended is reaped at once. */
static void on_child_reaping(int sig, siginfo_t *info, void *context)
{
	int saved = errno, status;

	(void)sig;
	if (!is_driver())
		return;
	log_call(info, context);
	while (waitpid(-1, &status, WNOHANG) > 0)
		__atomic_fetch_add(&shared->reaped, 1, __ATOMIC_SEQ_CST);
	errno = saved;
}

const char *handler_name(void (*handler)(int))
{
	void *at = (void *)handler;

	if (handler == SIG_IGN)
		return "ignored";
	if (handler == SIG_DFL)
		return "default";
	if (at == (void *)on_child || at == (void *)on_child_info || at == (void *)on_child_reaping)
		return "the host's handler";
	return "a handler";
}

/* ---- conditions ------------------------------------------------------------------------- */

static void nothing(void)
{
}

static void act(void *handler, int flags)
{
	struct sigaction a = { .sa_flags = flags };

	a.sa_handler = (void (*)(int))handler;
	/* Calls that may be nested shall see the same mask as those that are not. */
	if (!(flags & SA_NODEFER))
		sigaddset(&a.sa_mask, SIGUSR1);
	sigaction(SIGCHLD, &a, NULL);
}

static void unset(void)
{
	signal(SIGCHLD, SIG_DFL);
}

static void ignore(void) { signal(SIGCHLD, SIG_IGN); }
static void no_child_wait(void) { act(SIG_DFL, SA_NOCLDWAIT); }
static void no_child_wait_handler(void) { act(on_child, SA_NOCLDWAIT | SA_RESTART); }
static void no_child_stop(void) { act(on_child, SA_NOCLDSTOP | SA_RESTART); }
static void restarting(void) { act(on_child, SA_RESTART); }
static void interrupting(void) { act(on_child, 0); }
static void with_info(void) { act(on_child_info, SA_SIGINFO | SA_RESTART); }
static void nested(void) { act(on_child_info, SA_SIGINFO | SA_NODEFER); }
static void reset(void) { act(on_child, SA_RESETHAND | SA_RESTART); }
static void reaping(void) { act(on_child_reaping, SA_SIGINFO | SA_RESTART); }
static void bsd(void) { signal(SIGCHLD, on_child); }

static void use_stack(int flags)
{
	stack_t s = { .ss_sp = stack, .ss_size = sizeof stack, .ss_flags = flags };

	sigaltstack(&s, NULL);
}

static void on_stack(void)
{
	use_stack(0);
	act(on_child_info, SA_SIGINFO | SA_ONSTACK);
}

static void off_stack(void)
{
	unset();
	use_stack(SS_DISABLE);
}

static void hold(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(how, &set, NULL);
}

/* Takes what is queued, and says it as if it were a call. */
static void take_pending(void)
{
	struct timespec none = { 0, 0 };
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	while (sigtimedwait(&set, &info, &none) > 0)
		log_call(&info, NULL);
}

static void take_from_fd(void)
{
	struct signalfd_siginfo s;

	while (read(signal_fd, &s, sizeof s) == sizeof s) {
		siginfo_t info = { .si_code = s.ssi_code };

		info.si_pid = s.ssi_pid;
		info.si_status = s.ssi_status;
		log_call(&info, NULL);
	}
}

static void block_for_fd(void)
{
	sigset_t set;

	hold(SIG_BLOCK);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void unblock(void)
{
	if (signal_fd >= 0)
		close(signal_fd);
	signal_fd = -1;
	hold(SIG_UNBLOCK);
	unset();
}

static void block(void)
{
	act(on_child_info, SA_SIGINFO);
	hold(SIG_BLOCK);
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static void system_v(void)
{
	sigset(SIGCHLD, on_child);
	sighold(SIGCHLD);
}

/* The pending signal is delivered here. */
static void system_v_release(void)
{
	sigrelse(SIGCHLD);
}

static void system_v_unset(void)
{
	sigset(SIGCHLD, SIG_DFL);
}

const struct condition conditions[] = {
	{ "default", nothing, nothing, unset, 0, 0, 0 },
	{ "ignored", ignore, nothing, unset, 0, 0, 1 },
	{ "no-child-wait", no_child_wait, nothing, unset, 0, 0, 1 },
	{ "no-child-wait-handler", no_child_wait_handler, nothing, unset, 1, 0, 1 },
	{ "no-child-stop", no_child_stop, nothing, unset, 1, 0, 0 },
	{ "restarting", restarting, nothing, unset, 1, 0, 0 },
	{ "interrupting", interrupting, nothing, unset, 1, 0, 0 },
	{ "signalfd", block_for_fd, take_from_fd, unblock, 0, 0, 0 },
	{ "sigwait", block, take_pending, unblock, 0, 0, 0 },
	{ "siginfo", with_info, nothing, unset, 1, 0, 0 },
	{ "nodefer", nested, nothing, unset, 1, 0, 0 },
	{ "resethand", reset, nothing, unset, 1, 1, 0 },
	{ "onstack", on_stack, nothing, off_stack, 1, 0, 0 },
	{ "bsd", bsd, nothing, unset, 1, 0, 0 },
	{ "sigset", system_v, system_v_release, system_v_unset, 0, 0, 0 },
	{ "reaping", reaping, nothing, unset, 1, 0, 0 },
};

const int n_conditions = sizeof conditions / sizeof *conditions;
const struct condition *condition = &conditions[0];
