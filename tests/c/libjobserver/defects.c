/* What an earlier libjobserver (v0.2.0) does wrong. */
#include "check.h"

/* The next launch gets a slot, whether it tells of a stranger first or not. */
static void launch_past_strangers(struct jobserver *js)
{
	int r;

	while ((r = jobserver_launch_job(js, 5000, true, NULL, job_ends, done)) == -1)
		check(errno == ECHILD && js->stopped > 0);
}

static void job_and_stranger_end_together(void)
{
	struct jobserver js;

	create(&js, "a");
	for (int i = 0; i < 20; i++) {
		pid_t one, two, own;
		int status;

		check(pipe(gate) == 0);
		one = launch(&js, job_waits, NULL);
		two = launch(&js, job_waits, NULL);
		own = ended_child(3);
		open_gate();
		await_end(one);
		await_end(two);
		launch_past_strangers(&js);
		launch_past_strangers(&js);
		check(waitpid(own, &status, 0) == own && WEXITSTATUS(status) == 3);
		while (jobserver_collect(&js, -1) != 0)
			check(errno == ECHILD);
		check(level(&js) == 1 && js.has_free_token);
	}
	check(done_count == 80);
	stop(&js);
}

static void stranger_ends_first(void)
{
	struct jobserver js;
	pid_t own, pid;

	create(&js, "ab");
	launch(&js, job_stays, NULL);
	own = ended_child(1);
	pid = launch(&js, job_ends, NULL);
	await_end(pid);
	/* The other job would let this wait for ever. */
	check(jobserver_wait(&js, -1) == 1 && done_count == 1);
	fails(jobserver_wait(&js, -1), ECHILD);
	check(js.stopped == own);
	pid = launch(&js, job_ends, NULL);
	await_end(pid);
	check(jobserver_wait(&js, -1) == 1 && done_count == 2);
	check(waitpid(own, NULL, 0) == own);
	stop(&js);
}

static void job_collected_by_the_program(void)
{
	struct jobserver js;
	pid_t pid;
	int status, code = 4;

	create(&js, "ab");
	launch(&js, job_stays, NULL);
	for (int i = 0; i < 3; i++) {
		pid = launch(&js, job_ends, &code);
		check(waitpid(pid, &status, 0) == pid);
		check(jobserver_terminate_job(&js, pid, status) == 0);
		check(WEXITSTATUS(done_status) == 4 && done_data == &code);
		/* The other job would let this wait for ever. */
		check(jobserver_wait(&js, 50) == 1);
		check(level(&js) == 2);
	}
	stop(&js);
}

/* Bytes that mean something elsewhere come back as they were. */
static void any_byte_is_a_token(void)
{
	static const char bytes[] = { 0, 1, (char)0xff, '+', '\n', 'G', 0 };
	struct jobserver js;
	char back[16];
	int seen[256] = { 0 };

	for (size_t i = 0; i < sizeof bytes; i++) {
		memset(&js, 0, sizeof js);
		check(jobserver_create_n(&js, 3, bytes[i]) == 4);
		check(pipe(gate) == 0);
		for (int j = 0; j < 4; j++)
			launch(&js, job_waits, NULL);
		check(level(&js) == 0 && js.current_jobs == 4);
		open_gate();
		check(jobserver_collect(&js, -1) == 0);
		check(level(&js) == 3 && read(js.poll[1].fd, back, 16) == 3);
		for (int j = 0; j < 3; j++)
			check(back[j] == bytes[i]);
		check(write(js.write, back, 3) == 3);
		stop(&js);
	}
	memset(&js, 0, sizeof js);
	check(jobserver_create_n(&js, 1, 'x') == 2);
	check(read(js.poll[1].fd, back, 1) == 1 && write(js.write, bytes, sizeof bytes) == 7);
	for (int i = 0; i < 500; i++)
		check(jobserver_launch_job(&js, -1, true, NULL, job_ends, done) == 0);
	check(jobserver_collect(&js, -1) == 0);
	check(read(js.poll[1].fd, back, 16) == 7);
	for (int i = 0; i < 7; i++)
		seen[(unsigned char)back[i]]++;
	check(seen[0] == 2 && seen[1] == 1 && seen[255] == 1 && seen['+'] == 1 && seen['G'] == 1);
	check(write(js.write, back, 1) == 1);
	check(jobserver_close(&js) == 0);
}

static void close_of_a_joined_one(void)
{
	struct jobserver js, second;
	struct sigaction before, during, after;
	int fds[2], open_before = descriptors();

	sigaction(SIGCHLD, NULL, &before);
	check(pipe(fds) == 0 && write(fds[1], "a", 1) == 1);
	set_flags(" -j --jobserver-auth=%d,%d", fds[0], fds[1]);
	check(jobserver_connect(&js) == 0 && jobserver_connect(&second) == 0);
	sigaction(SIGCHLD, NULL, &during);
	check(during.sa_handler != before.sa_handler);
	check(jobserver_close(&js) == 0);
	sigaction(SIGCHLD, NULL, &after);
	check(after.sa_handler == during.sa_handler);
	/* The other one is as it was. */
	for (int i = 0; i < 10; i++)
		check(jobserver_launch_job(&second, -1, true, NULL, job_ends, done) == 0);
	check(jobserver_collect(&second, -1) == 0 && level(&second) == 1);
	check(jobserver_close(&second) == 0);
	sigaction(SIGCHLD, NULL, &after);
	check(after.sa_handler == before.sa_handler && after.sa_flags == before.sa_flags);
	check(descriptors() == open_before);
	check(strstr(getenv("MAKEFLAGS"), "--jobserver-auth="));
}

static void clear_waits(void)
{
	struct jobserver js;

	create(&js, "abcdefg");
	for (int i = 0; i < 10; i++) {
		for (int j = 0; j < 8; j++)
			launch(&js, j % 2 ? job_ends : job_stays, NULL);
		check(jobserver_clear(&js) == 0 && js.current_jobs == 0);
		check(level(&js) == 7 && js.has_free_token);
		check(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
	}
	check(done_count == 80);
	stop(&js);
}

/* Somebody who takes and gives back the one token all the time, and never blocks for it. */
static pid_t rival(int read_fd, int write_fd)
{
	pid_t pid = fork();
	char path[64], byte;
	int fd;

	if (pid)
		return pid;
	snprintf(path, sizeof path, "/proc/self/fd/%d", read_fd);
	fd = open(path, O_RDONLY | O_NONBLOCK);
	for (;;)
		if (read(fd, &byte, 1) == 1 && write(write_fd, &byte, 1) != 1)
			_exit(1);
}

static void raced_pool(int flags, int fifo)
{
	struct jobserver js;
	int fds[2], got = 0;
	pid_t other;
	char text[64] = "fifo";

	if (fifo) {
		check(mkfifo(text, 0600) == 0 && (fds[0] = open(text, O_RDWR | flags)) >= 0);
		fds[1] = fds[0];
		setenv("MAKEFLAGS", " -j2 --jobserver-auth=fifo:fifo", 1);
	} else {
		check(pipe(fds) == 0 && fcntl(fds[0], F_SETFL, flags) == 0);
		set_flags(" -j2 --jobserver-auth=%d,%d", fds[0], fds[1]);
	}
	check(write(fds[1], "x", 1) == 1);
	other = rival(fds[0], fds[1]);
	check(jobserver_connect(&js) == 0);
	launch(&js, job_stays, NULL);
	for (int i = 0; i < 60; i++) {
		int ms = i % 3 ? 20 : -1;
		long start = millis();
		int r = jobserver_launch_job(&js, ms, true, NULL, job_ends, done);

		/* In vain only in time, never where that is without end. */
		check(r == 0 || (errno == EAGAIN && ms == 20 && millis() - start >= 20));
		got += r == 0;
		if (r == 0)
			while (jobserver_wait(&js, -1) != 1)
				;
	}
	check(got >= 20 && done_count == got);
	kill(other, SIGKILL);
	check(waitpid(other, NULL, 0) == other);
	check(fcntl(fds[0], F_GETFL) == (fcntl(fds[0], F_GETFL) | flags));
	check(!!(fcntl(fds[0], F_GETFL) & O_NONBLOCK) == !!flags);
	/* Killed with the token in its hand, the rival may have kept it. */
	check(level(&js) <= 1);
	check(jobserver_clear(&js) == 0 && jobserver_close(&js) == 0);
	unlink("fifo");
}

static void raced_blocking_pipe(void)
{
	raced_pool(0, 0);
}

static void raced_non_blocking_pipe(void)
{
	raced_pool(O_NONBLOCK, 0);
}

static void raced_fifo(void)
{
	raced_pool(O_NONBLOCK, 1);
}

/* An empty blocking pipe: the end of a job counts, and the time does. */
static void empty_pool(int flags)
{
	struct jobserver js;
	int fds[2];
	pid_t pid;

	check(pipe(fds) == 0 && fcntl(fds[0], F_SETFL, flags) == 0);
	set_flags(" -j2 --jobserver-auth=%d,%d", fds[0], fds[1]);
	check(jobserver_connect(&js) == 0);
	pid = launch(&js, job_stays, NULL);
	fails(jobserver_launch_job(&js, 50, true, NULL, job_ends, done), EAGAIN);
	kill(pid, SIGKILL);
	check(jobserver_launch_job(&js, -1, true, NULL, job_ends, done) == 0);
	check(done_count == 1 && jobserver_collect(&js, -1) == 0 && done_count == 2);
	check(jobserver_close(&js) == 0);
}

static void empty_blocking_pipe(void)
{
	empty_pool(0);
}

static void empty_non_blocking_pipe(void)
{
	empty_pool(O_NONBLOCK);
}

/* Of two instances, each hears of its own jobs only. */
static void two_instances(void)
{
	struct jobserver a, b;
	pid_t pid;
	int code = 5;

	create(&a, "ab");
	create(&b, "cd");
	launch(&a, job_stays, NULL);
	launch(&b, job_stays, NULL);
	for (int i = 0; i < 10; i++) {
		pid = launch(&a, job_ends, &code);
		await_end(pid);
		check(jobserver_wait(&b, 0) == 1 && b.stopped == -1);
		fails(jobserver_terminate_job(&b, pid, 0), ECHILD);
		check(jobserver_wait(&a, -1) == 1 && WEXITSTATUS(done_status) == 5);
	}
	check(done_count == 10 && level(&a) == 2 && level(&b) == 2);
	stop(&a);
	check(jobserver_wait(&b, 10) == 1);
	stop(&b);
}

static int shows_descriptors(void *data)
{
	(void)data;
	/* 0 to 2, and the ends of the pool; ls itself opens one. */
	execl("/bin/sh", "sh", "-c", "set -- /proc/$$/fd/*; exit $#", NULL);
	return 99;
}

static void internals_are_closed_on_exec(void)
{
	struct jobserver js;

	for (int fd = 3; fd < 64; fd++)
		close(fd);
	create(&js, "a");
	launch(&js, shows_descriptors, NULL);
	check(jobserver_collect(&js, -1) == 0 && WEXITSTATUS(done_status) >= 5);
	int shared = WEXITSTATUS(done_status);
	check(jobserver_launch_job(&js, 0, false, NULL, shows_descriptors, done) == 0);
	check(jobserver_collect(&js, -1) == 0 && WEXITSTATUS(done_status) == shared - 2);
	stop(&js);
}

static int counts_descriptors(void *data)
{
	(void)data;
	return descriptors();
}

static void jobs_have_no_internals(void)
{
	struct jobserver js;
	int before;

	for (int fd = 3; fd < 64; fd++)
		close(fd);
	before = descriptors();
	create(&js, "a");
	/* All but the signalfd, which tells of the job's own children if it has any. */
	for (int shared = 0; shared < 2; shared++) {
		check(jobserver_launch_job(&js, 0, shared, NULL, counts_descriptors, done) == 0);
		check(jobserver_collect(&js, -1) == 0);
		check(WEXITSTATUS(done_status) == before + 2 * shared + 1);
	}
	stop(&js);
}

static int handled;

static void own_handler(int sig, siginfo_t *info, void *context)
{
	handled += sig == SIGCHLD && info->si_pid > 0 && context;
}

static void old_action_is_kept(void)
{
	struct sigaction own = { .sa_sigaction = own_handler, .sa_flags = SA_SIGINFO }, now;
	struct jobserver a, b;

	sigaddset(&own.sa_mask, SIGUSR1);
	sigaction(SIGCHLD, &own, NULL);
	create(&a, "a");
	create(&b, "b");
	launch(&a, job_ends, NULL);
	check(jobserver_collect(&a, -1) == 0);
	check(handled == 1);
	check(jobserver_close(&a) == 0);
	launch(&b, job_ends, NULL);
	check(jobserver_collect(&b, -1) == 0);
	check(handled == 2);
	check(jobserver_close(&b) == 0);
	sigaction(SIGCHLD, NULL, &now);
	check(now.sa_sigaction == own_handler && (now.sa_flags & SA_SIGINFO));
	check(!(now.sa_flags & SA_RESTART) && sigismember(&now.sa_mask, SIGUSR1));
	/* What the program has put in place meanwhile stays. */
	create(&a, "a");
	signal(SIGCHLD, SIG_DFL);
	check(jobserver_close(&a) == 0);
	sigaction(SIGCHLD, NULL, &now);
	check(now.sa_handler == SIG_DFL);
}

static int prints(void *data)
{
	printf("from the job %s\n", (char *)data);
	return 0;
}

/* What the program has not written yet is written once, by the program. */
static void pending_output_is_written_once(void)
{
	static char buffer[4096];
	struct jobserver js;

	setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
	create(&js, "");
	printf("from the program\n");
	check(jobserver_launch_job(&js, 0, true, "one", prints, done) == 0);
	check(jobserver_collect(&js, -1) == 0);
	check(jobserver_launch_job(&js, 0, true, "two", prints, done) == 0);
	check(jobserver_collect(&js, -1) == 0);
	stop(&js);
}

CASES({ "job_and_stranger_end_together", job_and_stranger_end_together },
      { "stranger_ends_first", stranger_ends_first },
      { "job_collected_by_the_program", job_collected_by_the_program },
      { "any_byte_is_a_token", any_byte_is_a_token },
      { "close_of_a_joined_one", close_of_a_joined_one },
      { "clear_waits", clear_waits },
      { "raced_blocking_pipe", raced_blocking_pipe },
      { "raced_non_blocking_pipe", raced_non_blocking_pipe },
      { "raced_fifo", raced_fifo },
      { "empty_blocking_pipe", empty_blocking_pipe },
      { "empty_non_blocking_pipe", empty_non_blocking_pipe },
      { "two_instances", two_instances },
      { "internals_are_closed_on_exec", internals_are_closed_on_exec },
      { "jobs_have_no_internals", jobs_have_no_internals },
      { "old_action_is_kept", old_action_is_kept },
      { "pending_output_is_written_once", pending_output_is_written_once })
