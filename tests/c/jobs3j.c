/* jobs3j: job control as the manual page jobs(3J) of 4.1BSD and SunOS taught it, with its calls: every
 * job is a process group, SIGCHLD is held while the table of jobs is looked at, and sigpause releases
 * it and waits in one step. With a terminal as its standard input, it hands that to a job and back. */
#include "jobs.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* The calls of that time took a process and its group. */
#define setpgrp(pid, pgrp) setpgid(pid, pgrp)

enum { MOST = 16 };

static struct job {
	int pid, stopped, done, status;
	char what[24], events[96];
} jobs[MOST];
static int started, running, strangers;

static void event(struct job *j, const char *text, int number)
{
	size_t used = strlen(j->events);

	snprintf(j->events + used, sizeof j->events - used, ", %s %d", text, number);
}

/* SIGCHLD: every change of every child, until there is nothing more to tell. */
static void onchild(int signo)
{
	int pid, status, saved = errno;
	struct rusage used;

	(void)signo;
	while ((pid = wait3(&status, WNOHANG | WUNTRACED, &used)) > 0) {
		struct job *j = jobs;

		while (j < jobs + started && j->pid != pid)
			j++;
		if (j == jobs + started) {
			strangers++;
		} else if (WIFSTOPPED(status)) {
			j->stopped = WSTOPSIG(status);
			event(j, "stopped by", j->stopped);
		} else {
			j->done = 1;
			running--;
			event(j, WIFSIGNALED(status) ? "killed by" : "exited with",
			      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		}
	}
	errno = saved;
}

/* Starts a job in a process group of its own. */
static struct job *start(const char *what, char **argv)
{
	struct job *j = &jobs[started];
	int pid;

	sighold(SIGCHLD);
	pid = fork();
	if (pid == 0) {
		setpgrp(0, getpid());
		sigset(SIGCHLD, SIG_DFL);
		sigset(SIGTTOU, SIG_DFL);
		sigrelse(SIGCHLD);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0) {
		perror("fork");
		exit(90);
	}
	setpgrp(pid, pid);
	snprintf(j->what, sizeof j->what, "%s", what);
	j->pid = pid;
	started++;
	running++;
	sigrelse(SIGCHLD);
	return j;
}

/* Hold, check, pause, release. */
static void await_stop(struct job *j)
{
	sighold(SIGCHLD);
	while (!j->stopped && !j->done)
		sigpause(SIGCHLD);
	sigrelse(SIGCHLD);
}

static void await_end(struct job *j)
{
	sighold(SIGCHLD);
	while (!j->done)
		sigpause(SIGCHLD);
	sigrelse(SIGCHLD);
}

static void await_all(void)
{
	sighold(SIGCHLD);
	while (running > 0)
		sigpause(SIGCHLD);
	sigrelse(SIGCHLD);
}

static void stop_and_go(struct job *j, int signo)
{
	killpg(j->pid, signo);
	await_stop(j);
	j->stopped = 0;
	killpg(j->pid, SIGCONT);
}

/* A job in the background that wants to read is stopped, comes to the front, and reads. */
static void with_terminal(void)
{
	char *reader[] = { "sh", "-c", "read -r line; echo \"read: $line\"; exit 3", NULL };
	int own = getpid(), front = 0;
	struct job *j;

	sigset(SIGTTOU, SIG_IGN);
	setpgrp(0, own);
	if (ioctl(0, TIOCSPGRP, &own) < 0)
		perror("TIOCSPGRP");
	j = start("reader", reader);
	await_stop(j);
	if (tcsetpgrp(0, j->pid) < 0)
		perror("tcsetpgrp");
	killpg(j->pid, SIGCONT);
	await_end(j);
	if (ioctl(0, TIOCGPGRP, &front) < 0 || ioctl(0, TIOCSPGRP, &own) < 0)
		perror("TIOCSPGRP");
	printf("in front: %s\n", front == j->pid ? "the reader" : "another");
}

int main(void)
{
	char *stay[] = { getenv("STAYS"), "stay", NULL }, *sleeper[] = { "sleep", "1000", NULL };
	char *job[] = { getenv("JOB"), "-b", "5", "-s", "40", "-x", "4", NULL };
	struct job *first, *second, *asleep;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigset(SIGCHLD, onchild);
	first = start("first", stay);
	stop_and_go(first, SIGSTOP);
	second = start("second", stay);
	asleep = start("asleep", sleeper);
	for (int n = 0; n < 6; n++)
		start("job", job);
	stop_and_go(first, SIGTSTP);
	stop_and_go(second, SIGSTOP);
	stop_and_go(asleep, SIGSTOP);
	stop_and_go(asleep, SIGTSTP);
	killpg(asleep->pid, SIGTERM);
	await_end(asleep);
	close(open("stay.go", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	await_end(second);
	if (isatty(0))
		with_terminal();
	await_all();
	for (struct job *j = jobs; j < jobs + started; j++)
		printf("%s%s\n", j->what, j->events);
	printf("%d strangers, then %s\n", strangers,
	       wait3(NULL, WNOHANG, NULL) < 0 && errno == ECHILD ? "ECHILD" : "more");
	return 5;
}
