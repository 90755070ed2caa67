/* inject LOG WHAT HOST ARG...: runs a host with a system call of ours made to fail.
 * inject refuse ERRNO:WHICH HOST ARG...: becomes a host for which, and all below it, a system call does not exist.
 *
 * The library and its helper make their system calls themselves, so that no preloaded injector sees them. Here
 * a seccomp filter hands each such call to this process (seccomp_unotify(2)), which tells ours by the address
 * that it comes from: in libjsshim.so, or in jsshim-helper. All others go on.
 *
 * WHAT is `count`, or `ROLE:CALL:ERRNO:N`: the N-th such call fails with that number; each one, if N is 0. A role
 * is `lib`, `hold` or `guard`. LOG gets a line `ROLE CALL COUNT` for each kind, and `failed COUNT`.
 *
 * The status is the host's; 95: processes of its tree have outlived it for long.
 *
 * WHICH is the name of a call, or `4.18`: all calls that are newer than that kernel. They fail with that number, those
 * of libc and of the host as well: ENOSYS as in an old kernel, EPERM as in a sandbox. But clone3 is never told EPERM,
 * which glibc takes for an answer, and which no sandbox gives for that reason. */
#include "inject.h"
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* How long the guard may stay behind the host, in ms. */
enum { GRACE = 6000 };

static long counts[ROLES][CALLS], failed;
static int role = -1, call = -1, number;
static long when;

static void die(const char *what)
{
	perror(what);
	exit(94);
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF(how, value, yes, no) BPF_JUMP(BPF_JMP | how | BPF_K, value, yes, no)
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, what)

/* The filter: the calls of the table go to the listener, whose descriptor this returns; not those of ld.so,
 * which are the most. It is mapped first, at the top of where the kernel maps when it does not choose at random. */
static int listen_to_calls(void)
{
	enum { HEAD = 6, SIZE = HEAD + CALLS + 2 };
	static struct sock_filter code[SIZE] = {
		LOAD(instruction_pointer) , IF(BPF_JGE, 0xf7fc0000, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
		IF(BPF_JEQ, 0x7fff, 0, 1), ANSWER(SECCOMP_RET_ALLOW), LOAD(nr),
	};
	struct sock_fprog program = { SIZE, code };
	int flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;

	for (int i = 0; i < CALLS; i++)
		code[HEAD + i] = (struct sock_filter)IF(BPF_JEQ, calls[i].nr, CALLS - i, 0);
	code[SIZE - 2] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
	code[SIZE - 1] = (struct sock_filter)ANSWER(SECCOMP_RET_USER_NOTIF);
	if (personality(ADDR_NO_RANDOMIZE) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

/* Nothing is asked here: the kernel answers by itself. */
static void refuse(const char *what)
{
	unsigned first = FIRST_AFTER_4_18;
	int how = BPF_JGE, n = 0;
	char name[24];

	if (sscanf(what, "%d:%23[a-z_0-9.]%n", &number, name, &n) != 2 || what[n])
		die(what);
	for (int i = 0; i < NEWER; i++)
		if (strcmp(newer[i].name, name) == 0)
			first = newer[i].nr, how = BPF_JEQ;
	if (how == BPF_JGE && strcmp(name, "4.18") != 0)
		die(name);

	struct sock_filter code[] = {
		LOAD(nr), BPF_JUMP(BPF_JMP | how | BPF_K, first, 0, 2),
		IF(BPF_JEQ, SYS_clone3, 2, 0), ANSWER(SECCOMP_RET_ERRNO | number),
		ANSWER(SECCOMP_RET_ALLOW), ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
	};
	struct sock_fprog program = { sizeof code / sizeof *code, code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
	    || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		die("refuse");
}

union control {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(int))];
};

/* Sends a descriptor, or receives one. */
static int pass(int socket, int fd)
{
	char byte = 0;
	struct iovec part = { &byte, 1 };
	union control control = { .header = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof control };

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
		return sendmsg(socket, &message, 0) == 1 ? 0 : -1;
	}
	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
	return fd;
}

static pid_t start(char **argv, int *listener)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 || (pid = fork()) < 0)
		die("inject");
	if (pid == 0) {
		int fd = listen_to_calls();

		/* From here on nothing of the table may be called but exec: it would wait for the listener. */
		if (fd < 0 || pass(pair[1], fd) < 0)
			_exit(94);
		execvp(argv[0], argv);
		_exit(94);
	}
	if ((*listener = pass(pair[0], -1)) < 0)
		die("listener");
	close(pair[0]);
	close(pair[1]);
	return pid;
}

static int judge(const struct seccomp_notif *asked)
{
	int which = call_of(asked->data.nr);
	int who = role_of(asked->pid, asked->data.instruction_pointer);

	if (calls[which].nr == SYS_execve || calls[which].nr == SYS_exit_group)
		forget(asked->pid);
	if (who < 0)
		return 0;
	counts[who][which]++;
	if (who != role || which != call || (when && counts[who][which] != when))
		return 0;
	failed++;
	return number;
}

static void answer(int listener)
{
	struct seccomp_notif asked = { 0 };
	struct seccomp_notif_resp told = { 0 };

	/* It has been killed meanwhile. */
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) < 0)
		return;
	told.id = asked.id;
	told.error = -judge(&asked);
	told.flags = told.error ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &told);
}

/* Serves the tree until its last process has ended. Gives the host's wait status, or -1. */
static int serve(int listener, pid_t host)
{
	struct pollfd events = { .fd = listener, .events = POLLIN };
	int status = 0, ended = 0;
	long since = 0;

	for (;;) {
		int n = poll(&events, 1, 20);

		if (ended && millis() - since > GRACE)
			return -1;
		if (n > 0 && events.revents & POLLIN) {
			answer(listener);
			continue;
		}
		if (!ended && waitpid(host, &status, WNOHANG) == host) {
			ended = 1;
			since = millis();
		}
		/* POLLHUP: nobody is left to ask. */
		if (n > 0 && ended)
			return status;
		if (n > 0)
			usleep(1000);
	}
}

static void parse(const char *what)
{
	char who[8], name[24];
	int n;

	if (strcmp(what, "count") == 0)
		return;
	if (sscanf(what, "%7[a-z]:%23[a-z_0-9]:%d:%ld%n", who, name, &number, &when, &n) != 4 || what[n]
	    || (role = role_named(who)) < 0 || (call = call_named(name)) < 0) {
		fprintf(stderr, "inject: what is %s?\n", what);
		exit(94);
	}
}

static void report(const char *path)
{
	FILE *log = fopen(path, "w");

	if (!log)
		die(path);
	for (int r = 0; r < ROLES; r++)
		for (int c = 0; c < CALLS; c++)
			if (counts[r][c])
				fprintf(log, "%s %s %ld\n", roles[r], calls[c].name, counts[r][c]);
	fprintf(log, "failed %ld\n", failed);
	fclose(log);
}

int main(int argc, char **argv)
{
	int listener, status;
	pid_t host;

	if (argc < 4)
		return 94;
	if (strcmp(argv[1], "refuse") == 0) {
		refuse(argv[2]);
		execvp(argv[3], argv + 3);
		die(argv[3]);
	}
	parse(argv[2]);
	host = start(argv + 3, &listener);
	status = serve(listener, host);
	report(argv[1]);
	if (status < 0)
		return 95;
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	return WEXITSTATUS(status);
}
