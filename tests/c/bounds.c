/* bounds HOW DOOR COUNT COMMAND...: starts a command so often at once, each in a child that binds itself in some way
 * between its fork and its exec, and says how they ended. DOOR is fork or vfork. "worker": children that let nothing
 * through but their end, by exit or _exit (HOW), beside as many jobs. "self": the host binds itself, after two jobs, and
 * starts the others by posix_spawn, popen and system. "exec": it binds itself and becomes the command. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static int bad;

/* What a dynamic program needs that sleeps and writes (as the lists of file(1), man-db and minijail), and what the
 * jobs of the tests call. */
static const int starts[] = {
	SYS_execve, SYS_brk, SYS_mmap, SYS_openat, SYS_newfstatat, SYS_fstat, SYS_close, SYS_read, SYS_pread64,
	SYS_set_tid_address, SYS_set_robust_list, SYS_rseq, SYS_mprotect, SYS_prlimit64, SYS_munmap, SYS_write,
	SYS_exit_group, SYS_clock_nanosleep, SYS_nanosleep, SYS_getrandom, SYS_ioctl, SYS_lseek, SYS_clock_gettime,
	SYS_getpid, SYS_flock, SYS_pwrite64,
#ifdef SYS_access
	SYS_access, SYS_arch_prctl,
#else
	SYS_faccessat,
#endif
};

/* What one that only ends needs. */
static const int ends[] = { SYS_write, SYS_exit_group };

static int filter(const int *allowed, int count, unsigned otherwise)
{
	struct sock_filter f[200] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)) };
	struct sock_fprog program = { .filter = f };
	int n = 1;

	for (int i = 0; i < count; i++) {
		f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
		f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise);
	program.len = n;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

#define FILTER(list, otherwise) filter(list, sizeof list / sizeof *list, otherwise)

/* Only what is below these directories may be opened, or run. */
static int landlock(const char *const *dirs, unsigned long long what)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = what };
	int set = syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);

	if (set < 0)
		return -1;
	for (; *dirs; dirs++) {
		struct landlock_path_beneath_attr rule = {
			.allowed_access = what,
			.parent_fd = open(*dirs, O_PATH | O_CLOEXEC),
		};

		if (rule.parent_fd < 0 || syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
			return -1;
		close(rule.parent_fd);
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_landlock_restrict_self, set, 0))
		return -1;
	return close(set);
}

static int limit(int which, rlim_t most)
{
	return setrlimit(which, &(struct rlimit){ most, most });
}

static int bind_to(const char *how)
{
	const char *needed[] = { "/usr", "/lib", "/lib64", "/bin", "/dev/null", getenv("JOB"), getenv("JSSHIM_TEST_JOBS"), NULL, NULL };
	int (*is)(const char *, const char *) = strcmp;

	if (*getenv("JSSHIM_LIB"))
		needed[7] = getenv("JSSHIM_LIB");
	if (!is(how, "kill"))
		return FILTER(starts, SECCOMP_RET_KILL_PROCESS);
	if (!is(how, "trap"))
		return FILTER(starts, SECCOMP_RET_TRAP);
	if (!is(how, "errno"))
		return FILTER(starts, SECCOMP_RET_ERRNO | EPERM);
	if (!is(how, "twice"))
		return filter(NULL, 0, SECCOMP_RET_ALLOW) || FILTER(starts, SECCOMP_RET_KILL_PROCESS);
	if (!is(how, "landlock-exec"))
		return landlock(needed, LANDLOCK_ACCESS_FS_EXECUTE);
	if (!is(how, "landlock-write"))
		return landlock(needed, LANDLOCK_ACCESS_FS_WRITE_FILE);
	if (!is(how, "landlock-read"))
		return landlock(needed, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE);
	if (!is(how, "no-new-privs"))
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!is(how, "few-files"))
		return limit(RLIMIT_NOFILE, 4);
	if (!is(how, "no-files"))
		return limit(RLIMIT_NOFILE, 0);
	if (!is(how, "little-memory"))
		return limit(RLIMIT_AS, 24 << 20) || limit(RLIMIT_STACK, 256 << 10);
	if (!is(how, "chroot"))
		return chroot(getenv("ROOT")) || chdir("/") || setenv("PATH", "/bin", 1);
	if (!is(how, "traced"))
		return ptrace(PTRACE_TRACEME, 0, 0, 0) != 0;
	return is(how, "nothing");
}

static void become(const char *how, char **argv)
{
	if (bind_to(how)) {
		perror(how);
		_exit(99);
	}
	execvp(argv[0], argv);
	_exit(98);
}

static void start(const char *how, const char *door, char **argv)
{
	pid_t pid = strcmp(door, "vfork") ? fork() : vfork();

	if (pid == 0)
		become(how, argv);
	if (pid < 0)
		bad++;
}

/* Which program has come to its first stop. */
static void look(pid_t pid, const char *program)
{
	char link[32], path[512];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/%d/exe", pid);
	n = readlink(link, path, sizeof path - 1);
	path[n < 0 ? 0 : n] = 0;
	if (strcmp(strrchr(path, '/') ? strrchr(path, '/') + 1 : path, program)) {
		printf("a stop in %s\n", path);
		bad++;
	}
}

static void collect(const char *program)
{
	int status;
	pid_t pid;

	while ((pid = wait(&status)) > 0)
		if (WIFSTOPPED(status)) {
			if (WSTOPSIG(status) == SIGTRAP)
				look(pid, program);
			ptrace(PTRACE_CONT, pid, 0, WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status));
		} else if (status) {
			printf("status %x\n", status);
			bad++;
		}
}

/* The children of these have their share of what this host knows, and no job of their own. */
static void sandboxed(const char *by, int count)
{
	fflush(stdout);
	for (int n = 0; n < count; n++)
		if (fork() == 0) {
			if (FILTER(ends, SECCOMP_RET_KILL_PROCESS))
				_exit(99);
			if (!strcmp(by, "exit"))
				exit(0);
			_exit(0);
		}
}

/* Two at once by each door. */
static void by_doors(char **argv)
{
	for (int n = 0; n < 2; n++) {
		FILE *stream;
		pid_t pid;
		int error = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);

		if (error)
			printf("posix_spawn: %s\n", strerror(error));
		stream = popen("exec $JOB -s 30 -k 1", "re");
		printf("system %x\n", system("exec $JOB -s 30"));
		while (stream && fgetc(stream) != EOF)
			;
		printf("popen %x\n", stream ? pclose(stream) : -1);
	}
}

int main(int argc, char **argv)
{
	const char *how = argc > 4 ? argv[1] : "", *program;
	int count = argc > 4 ? atoi(argv[3]) : 0;

	if (!strcmp(argv[2], "exec"))
		become(how, argv + 4);
	program = strrchr(argv[4], '/') ? strrchr(argv[4], '/') + 1 : argv[4];
	for (int n = 0; n < count; n++)
		start(strstr(argv[2], "fork") ? how : "nothing", argv[2], argv + 4);
	if (!strcmp(argv[2], "worker"))
		sandboxed(how, count);
	collect(program);
	if (!strcmp(argv[2], "self")) {
		if (bind_to(how))
			perror(how);
		by_doors(argv + 4);
		collect(program);
	}
	printf("bad %d\n", bad);
	return 5 + bad;
}
