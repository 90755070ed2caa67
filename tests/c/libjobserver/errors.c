/* Each errno of each function. */
#include "check.h"
#include <dlfcn.h>

/* What the library calls of libc, made to fail. */
static int no_memory, no_environment;

void *realloc(void *at, size_t size)
{
	static void *(*real)(void *, size_t);

	if (!real)
		real = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
	if (no_memory) {
		errno = ENOMEM;
		return NULL;
	}
	return real(at, size);
}

int setenv(const char *name, const char *value, int overwrite)
{
	static int (*real)(const char *, const char *, int);

	if (!real)
		real = (int (*)(const char *, const char *, int))dlsym(RTLD_NEXT, "setenv");
	if (no_environment) {
		errno = ENOMEM;
		return -1;
	}
	return real(name, value, overwrite);
}

static void limit_descriptors(int more)
{
	/* The next numbers are free: the limit is on them. */
	int fd = dup(0);
	struct rlimit limit = { (rlim_t)(fd + more), 4096 };

	close(fd);
	check(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void connect_without_a_pool(void)
{
	struct jobserver js;

	unsetenv("MAKEFLAGS");
	fails(jobserver_connect(&js), ENODEV);
	check(!js.dry_run && !js.debug && !js.keep_going);
	setenv("MAKEFLAGS", "nk -- --jobserver-auth=0,1", 1);
	fails(jobserver_connect(&js), ENODEV);
	check(js.dry_run && !js.debug && js.keep_going);
	setenv("MAKEFLAGS", " -j3 --jobserver-auth=fifo:/nonexistent/pool", 1);
	fails(jobserver_connect(&js), ENODEV);
	check(jobserver_close(&js) == 0);
	check(js.poll[1].fd == -1 && js.write == -1 && js.stopped == -1);
}

static void connect_to_what_is_closed(void)
{
	struct jobserver js;
	int fds[2], other[2];

	check(pipe(fds) == 0 && pipe(other) == 0);
	/* Open, but something else. */
	set_flags(" -j --jobserver-auth=%d,%d", fds[0], other[1]);
	fails(jobserver_connect(&js), EACCES);
	set_flags(" -j --jobserver-auth=%d,%d", fds[1], fds[0]);
	fails(jobserver_connect(&js), EACCES);
	set_flags(" -j --jobserver-auth=%d,%d", 0, 0);
	fails(jobserver_connect(&js), EACCES);
	set_flags(" -j --jobserver-auth=%d,%d", fds[0], fds[1]);
	check(jobserver_connect(&js) == 0);
	check(js.size == 0 && js.has_free_token && js.current_jobs == 0);
	check(js.poll[1].fd == fds[0] && js.write == fds[1]);
	check(jobserver_close(&js) == 0);
	/* They are closed now. */
	fails(jobserver_connect(&js), EACCES);
	check(fcntl(fds[0], F_GETFD) == -1 && fcntl(fds[1], F_GETFD) == -1);
}

static void connect_to_bad_numbers(void)
{
	struct jobserver js;
	static const char *const bad[] = { "-1,-1", "-2,-2", "3,-1", "-1,4", "3,99999999999",
					   "99999999999,4", "-99999999999,4" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char text[100];

		snprintf(text, sizeof text, " -j --jobserver-auth=%s", bad[i]);
		setenv("MAKEFLAGS", text, 1);
		fails(jobserver_connect(&js), EBADF);
		fails(jobserver_getenv(&js), EBADF);
		check(js.poll[1].fd == -1 && js.write == -1);
	}
}

static void connect_to_nonsense(void)
{
	struct jobserver js;
	static const char *const bad[] = { "", "3", "3,", ",4", "a,b", "3;4", "sem", "fifo:",
					   "fifo:/etc/passwd" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char text[100];

		snprintf(text, sizeof text, " -j --jobserver-auth=%s", bad[i]);
		setenv("MAKEFLAGS", text, 1);
		fails(jobserver_connect(&js), EPROTO);
		if (i < 8)
			fails(jobserver_getenv(&js), EPROTO);
	}
}

/* With room for so many descriptors a failure is what it must be, and leaves nothing behind. */
static void create_without_descriptors(void)
{
	struct jobserver js;
	int seen_signalfd = 0, seen_pipe = 0, made = 0, before = descriptors();

	setenv("MAKEFLAGS", "k", 1);
	memset(&js, 0, sizeof js);
	for (int room = 0; !made; room++) {
		limit_descriptors(room);
		errno = EXDEV;
		made = jobserver_create_n(&js, 3, 't') == 4;
		if (made)
			break;
		check(errno == EMFILE || errno == 0);
		*(errno ? &seen_pipe : &seen_signalfd) = 1;
		check(strcmp(getenv("MAKEFLAGS"), "k") == 0);
		limit_descriptors(100);
		check(descriptors() == before);
	}
	check(seen_pipe && seen_signalfd);
	limit_descriptors(100);
	check(jobserver_close(&js) == 0);
	check(descriptors() == before);
}

static void connect_without_descriptors(void)
{
	struct jobserver js;
	int fds[2], seen_signalfd = 0, before;

	check(pipe(fds) == 0);
	before = descriptors();
	set_flags(" -j --jobserver-auth=%d,%d", fds[0], fds[1]);
	for (int room = 0;; room++) {
		limit_descriptors(room);
		errno = EXDEV;
		if (jobserver_connect(&js) == 0)
			break;
		check(errno == EMFILE || errno == 0);
		seen_signalfd |= errno == 0;
		limit_descriptors(100);
		check(descriptors() == before);
	}
	check(seen_signalfd);
	limit_descriptors(100);
	check(jobserver_close(&js) == 0);
	check(descriptors() == before - 2);
}

/* The test makes the kernel say so: it is run under strace. */
static void create_on_a_full_system(void)
{
	struct jobserver js;

	memset(&js, 0, sizeof js);
	fails(jobserver_create_n(&js, 3, 't'), ENFILE);
}

static void create_too_many(void)
{
	struct jobserver js;
	char tokens[4098];
	int before = descriptors();

	memset(&js, 0, sizeof js);
	unsetenv("MAKEFLAGS");
	memset(tokens, 'a', sizeof tokens);
	tokens[4097] = 0;
	fails(jobserver_create(&js, tokens), EINVAL);
	fails(jobserver_create_n(&js, 4097, 'a'), EINVAL);
	fails(jobserver_create_n(&js, (size_t)-1, 'a'), EINVAL);
	check(!getenv("MAKEFLAGS") && descriptors() == before);
	tokens[4096] = 0;
	check(jobserver_create(&js, tokens) == 4097);
	check(js.size == 4096 && level(&js) == 4096);
	check(jobserver_close(&js) == 0);
	check(jobserver_create_n(&js, 4096, 'a') == 4097);
	check(jobserver_close(&js) == 0);
	check(jobserver_create(&js, "") == 1);
	check(jobserver_close(&js) == 0);
	check(jobserver_create_n(&js, 0, 'a') == 1);
	check(js.size == 0 && level(&js) == 0);
	check(jobserver_close(&js) == 0);
	check(descriptors() == before);
}

static void no_memory_for_the_environment(void)
{
	struct jobserver js;
	struct sigaction before, after;
	int open_before = descriptors();

	memset(&js, 0, sizeof js);
	unsetenv("MAKEFLAGS");
	sigaction(SIGCHLD, NULL, &before);
	no_environment = 1;
	fails(jobserver_create_n(&js, 3, 't'), ENOMEM);
	fails(jobserver_create(&js, "ttt"), ENOMEM);
	fails(jobserver_setenv_(3, 4, false, false, false), ENOMEM);
	no_environment = 0;
	sigaction(SIGCHLD, NULL, &after);
	check(descriptors() == open_before);
	check(!getenv("MAKEFLAGS") && before.sa_handler == after.sa_handler);
	create(&js, "t");
	no_environment = 1;
	fails(jobserver_setenv(&js), ENOMEM);
	fails(jobserver_unsetenv(&js), ENOMEM);
	no_environment = 0;
	stop(&js);
}

static void close_too_early(void)
{
	struct jobserver js;
	char byte[4];

	create(&js, "abc");
	launch(&js, job_stays, NULL);
	fails(jobserver_close(&js), EBUSY);
	check(jobserver_clear(&js) == 0 && done_count == 1 && WTERMSIG(done_status) == SIGKILL);
	check(read(js.poll[1].fd, byte, 3) == 3);
	fails(jobserver_close(&js), EAGAIN);
	check(write(js.write, byte, 3) == 3);
	check(jobserver_close(&js) == 0);
	check(js.jobs == NULL && jobserver_close(&js) == 0);
	create(&js, "abc");
	check(read(js.poll[1].fd, byte, 1) == 1);
	fails(jobserver_close(&js), EIDRM);
	check(js.jobs == NULL && js.poll[1].fd == -1);
}

static void launch_without_a_token(void)
{
	struct jobserver js;
	long start;

	create(&js, "");
	launch(&js, job_stays, NULL);
	fails(jobserver_launch_job(&js, 0, true, NULL, job_ends, done), EAGAIN);
	start = millis();
	fails(jobserver_launch_job(&js, 150, true, NULL, job_ends, done), EAGAIN);
	check(millis() - start >= 150);
	check(js.current_jobs == 1 && js.stopped == -1 && done_count == 0);
	stop(&js);
}

static void launch_without_a_process(void)
{
	struct jobserver js;
	struct rlimit none = { 0, 0 };

	create(&js, "a");
	check(setrlimit(RLIMIT_NPROC, &none) == 0);
	if (geteuid() == 0)
		check(setresuid(65534, 65534, 65534) == 0);
	for (int i = 0; i < 3; i++)
		fails(jobserver_launch_job(&js, 0, true, NULL, job_ends, done), EAGAIN);
	check(js.has_free_token && js.current_jobs == 0 && level(&js) == 1);
	check(jobserver_close(&js) == 0);
}

static void launch_without_memory(void)
{
	struct jobserver js;

	create(&js, "abcdefghijk");
	no_memory = 1;
	fails(jobserver_launch_job(&js, 0, true, NULL, job_ends, done), ENOMEM);
	no_memory = 0;
	check(js.has_free_token && js.current_jobs == 0);
	while (js.current_jobs < js.max_jobs || js.max_jobs == 0)
		launch(&js, job_stays, NULL);
	no_memory = 1;
	fails(jobserver_launch_job(&js, 0, true, NULL, job_ends, done), ENOMEM);
	no_memory = 0;
	/* No job is forgotten, no token lost. */
	check(level(&js) + (int)js.current_jobs == 12);
	launch(&js, job_stays, NULL);
	stop(&js);
	check(done_count == 9);
}

static void strangers(void)
{
	struct jobserver js;
	pid_t pid;
	int status;

	create(&js, "");
	launch(&js, job_stays, NULL);
	pid = ended_child(7);
	fails(jobserver_launch_job(&js, 0, true, NULL, job_ends, done), ECHILD);
	check(js.stopped == pid && WIFEXITED(js.status) && WEXITSTATUS(js.status) == 7);
	/* Told once, and still there for its parent. */
	fails(jobserver_launch_job(&js, 0, true, NULL, job_ends, done), EAGAIN);
	check(js.stopped == -1);
	check(waitpid(pid, &status, WNOHANG) == pid && WEXITSTATUS(status) == 7);
	pid = fork();
	if (pid == 0) {
		nap(50);
		abort();
	}
	fails(jobserver_wait(&js, -1), ECHILD);
	check(js.stopped == pid && WIFSIGNALED(js.status) && WTERMSIG(js.status) == SIGABRT);
	pid = ended_child(9);
	/* One that is not collected does not hide the next. */
	fails(jobserver_collect(&js, -1), ECHILD);
	check(js.stopped == pid && WEXITSTATUS(js.status) == 9);
	check(jobserver_wait(&js, 0) == 1);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	stop(&js);
}

static void nothing(int sig)
{
	(void)sig;
}

static void interrupted(void)
{
	struct jobserver js;
	struct sigaction action = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	struct itimerval often = { { 0, 20000 }, { 0, 20000 } };

	sigaction(SIGALRM, &action, NULL);
	create(&js, "");
	launch(&js, job_stays, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	fails(jobserver_launch_job(&js, -1, true, NULL, job_ends, done), EINTR);
	fails(jobserver_wait(&js, -1), EINTR);
	fails(jobserver_collect(&js, -1), EINTR);
	stop(&js);
}

/* A signal that came before the wait, while the caller had it blocked, is not let through by it. */
static void blocked_signals_stay_blocked(void)
{
	struct jobserver js;
	sigset_t set, old;

	signal(SIGALRM, nothing);
	create(&js, "");
	launch(&js, job_stays, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, &old);
	raise(SIGALRM);
	check(jobserver_wait(&js, 50) == 1);
	sigpending(&set);
	check(sigismember(&set, SIGALRM));
	sigprocmask(SIG_SETMASK, NULL, &set);
	check(sigismember(&set, SIGALRM) && !sigismember(&set, SIGCHLD));
	sigprocmask(SIG_SETMASK, &old, NULL);
	stop(&js);
}

static void unreadable(void)
{
	struct jobserver js;
	int kept, end;

	create(&js, "ab");
	launch(&js, job_stays, NULL);
	kept = dup(js.poll[1].fd);
	end = js.poll[1].fd;
	close(end);
	fails(jobserver_launch_job(&js, -1, true, NULL, job_ends, done), EBADF);
	fails(jobserver_wait(&js, -1), EBADF);
	fails(jobserver_collect(&js, 100), EBADF);
	/* Another file has its number. */
	check(open("/dev/null", O_RDONLY) == end);
	fails(jobserver_launch_job(&js, -1, true, NULL, job_ends, done), EBADF);
	js.poll[1].fd = -1;
	fails(jobserver_launch_job(&js, -1, true, NULL, job_ends, done), EBADF);
	js.poll[1].fd = kept;
	launch(&js, job_stays, NULL);
	stop(&js);
}

static void not_connected(void)
{
	struct jobserver js;

	unsetenv("MAKEFLAGS");
	fails(jobserver_connect(&js), ENODEV);
	fails(jobserver_launch_job(&js, -1, true, NULL, job_ends, done), EBADF);
	fails(jobserver_wait(&js, -1), EBADF);
	fails(jobserver_clear(&js), EBADF);
	fails(jobserver_terminate_job(&js, 1, 0), EBADF);
	check(jobserver_unsetenv(&js) == 0 && !getenv("MAKEFLAGS"));
}

static void terminate_what_is_no_job(void)
{
	struct jobserver js;
	pid_t pid;
	int status;

	create(&js, "a");
	pid = launch(&js, job_ends, NULL);
	fails(jobserver_terminate_job(&js, getpid(), 0), ECHILD);
	fails(jobserver_terminate_job(&js, -1, 0), ECHILD);
	check(waitpid(pid, &status, 0) == pid);
	check(jobserver_terminate_job(&js, pid, 0x1234) == 0);
	check(done_count == 1 && done_status == 0x1234 && js.has_free_token);
	fails(jobserver_terminate_job(&js, pid, 0), ECHILD);
	check(jobserver_wait(&js, -1) == 0);
	stop(&js);
}

CASES({ "connect_without_a_pool", connect_without_a_pool },
      { "connect_to_what_is_closed", connect_to_what_is_closed },
      { "connect_to_bad_numbers", connect_to_bad_numbers },
      { "connect_to_nonsense", connect_to_nonsense },
      { "create_without_descriptors", create_without_descriptors },
      { "connect_without_descriptors", connect_without_descriptors },
      { "create_too_many", create_too_many },
      { "no_memory_for_the_environment", no_memory_for_the_environment },
      { "close_too_early", close_too_early },
      { "launch_without_a_token", launch_without_a_token },
      { "launch_without_a_process", launch_without_a_process },
      { "launch_without_memory", launch_without_memory },
      { "strangers", strangers },
      { "interrupted", interrupted },
      { "blocked_signals_stay_blocked", blocked_signals_stay_blocked },
      { "unreadable", unreadable },
      { "not_connected", not_connected },
      { "terminate_what_is_no_job", terminate_what_is_no_job },
      /* Last: the test runs it by itself. */
      { "create_on_a_full_system", create_on_a_full_system })
