/* doors KIND OCCUPY [DOOR]: goes through every exec and spawn door (or one exec door and the spawn
 * doors) with a target of one kind, and prints a line for each row: what the caller saw. OCCUPY
 * milliseconds (0: none) is how long another child holds the caller's own slot in each row.
 *
 * Run in an empty folder, where it lays out its targets. */
#include "execs.h"
#include "jobs.h"
#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- targets ---------------------------------------------------------------------------- */

static char huge[200 * 1024], large[100 * 1024];

static void put(const char *path, mode_t mode, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0)
		perror(path);
	close(fd);
}

static void lay_out(void)
{
	mkdir("bin", 0755);
	mkdir("first", 0755);
	mkdir("bin/directory", 0755);
	put("bin/not-executable", 0644, "#!/bin/sh\nexit 1\n");
	put("bin/no-format", 0755, "echo \"  shown: by the shell, $# arguments\"; exit 3\n");
	put("bin/empty", 0755, "");
	put("bin/no-interpreter", 0755, "#!/nonexistent/interpreter\n");
	put("bin/interpreter-is-a-folder", 0755, "#!/tmp\n");
	put("bin/script", 0755, "#!/bin/sh\necho \"  shown: script, $# arguments, $DOOR_MARK\"; exit 4\n");
	put("first/later", 0644, "not this one\n");
	put("bin/below-a-file", 0755, "");
	if (symlink("loop", "bin/loop") || symlink(getenv("DOOR_SHOW"), "bin/show") ||
	    symlink(getenv("DOOR_SHOW"), "bin/later") ||
	    symlink(getenv("DOOR_NO_LOADER"), "bin/no-loader"))
		perror("symlink");
	memset(huge, 'h', sizeof huge - 1);
	memset(large, 'l', sizeof large - 1);
}

/* What each kind names, by its path and (for the doors that search) by its name. */
static const struct kind {
	const char *kind, *name;
	int runs; /* at least one door starts it, so it cannot be tried without a child */
} kinds[] = {
	{ "enoent", "nonexistent", 0 },
	{ "eacces", "not-executable", 0 },
	{ "enoexec", "no-format", 1 },
	{ "empty", "empty", 1 },
	{ "e2big", "show", 0 },
	{ "nearly-too-big", "show", 1 },
	{ "directory", "directory", 0 },
	{ "script-without-interpreter", "no-interpreter", 0 },
	{ "interpreter-is-a-folder", "interpreter-is-a-folder", 0 },
	{ "elf-without-loader", "no-loader", 0 },
	{ "enotdir", "below-a-file/x", 0 },
	{ "eloop", "loop", 0 },
	{ "enametoolong", huge, 0 },
	{ "later-in-path", "later", 1 },
	{ "program", "show", 1 },
	{ "script", "script", 1 },
};

/* ---- rows ------------------------------------------------------------------------------- */

static int *child_errno;

static void finish(const char *door, const char *how, pid_t pid)
{
	int status = 0;
	pid_t got = waitpid(pid, &status, 0);

	printf("%s after %s: errno %s, %s %d\n", door, how, strerrorname_np(*child_errno),
	       WIFEXITED(status) ? "exit" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : status);
	if (got != pid)
		printf("  waitpid failed: %s\n", strerrorname_np(errno));
}

static void after_fork(const struct exec *d, struct target *t)
{
	pid_t pid;

	*child_errno = 0;
	pid = fork();
	if (pid == 0) {
		d->go(t);
		*child_errno = errno;
		_exit(99);
	}
	finish(d->name, "fork", pid);
}

static void after_vfork(const struct exec *d, struct target *t)
{
	pid_t pid;

	*child_errno = 0;
	pid = vfork();
	if (pid == 0) {
		d->go(t);
		*child_errno = errno;
		_exit(99);
	}
	finish(d->name, "vfork", pid);
}

static void without_a_child(const struct exec *d, struct target *t)
{
	int r = d->go(t);

	printf("%s alone: %d, errno %s\n", d->name, r, strerrorname_np(errno));
}

static void by_spawn(int search, struct target *t)
{
	const char *name = search ? "posix_spawnp" : "posix_spawn";
	pid_t pid = -7;
	int status = 0, e;

	e = search ? posix_spawnp(&pid, t->name, NULL, NULL, t->argv, t->envp)
		   : posix_spawn(&pid, t->path, NULL, NULL, t->argv, t->envp);
	/* errno is not shown: even a posix_spawnp that succeeds leaves in it what its search met. */
	printf("%s: returned %s, ", name, strerrorname_np(e));
	if (e) {
		printf("no child\n");
		return;
	}
	e = waitpid(pid, &status, 0) != pid;
	printf("%s, status %x\n", e ? "lost its child" : "its child", status);
}

static pid_t occupied(const char *ms)
{
	char *argv[] = { getenv("JOB"), "-s", (char *)ms, NULL };
	pid_t pid = 0;

	fflush(stdout);
	if (strcmp(ms, "0") && posix_spawn(&pid, argv[0], NULL, NULL, argv, environ))
		perror("the other child");
	return pid;
}

static void leave(pid_t pid)
{
	if (pid)
		waitpid(pid, NULL, 0);
	if (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD)
		printf("  a child too many\n");
}

static struct target aim(const struct kind *k)
{
	static char path[sizeof huge + 8];
	struct target t = { .path = path, .name = k->name };
	int args = 3;

	snprintf(path, sizeof path, "bin/%s", k->name);
	t.argv[0] = "zeroth";
	t.argv[1] = "";
	t.argv[2] = "second argument";
	if (!strcmp(k->kind, "e2big"))
		t.argv[2] = huge;
	if (!strcmp(k->kind, "nearly-too-big"))
		/* 1.8 of the 2 MiB that a stack of 8 MiB allows. */
		for (; args < ARGS; args++)
			t.argv[args] = large;
	setenv("DOOR_MARK", "inherited", 1);
	t.envp = marked("DOOR_MARK=given");
	return t;
}

int main(int argc, char **argv)
{
	const char *ms = argc > 2 ? argv[2] : "0";
	const struct kind *k = NULL;
	struct target t;
	char path[4096];
	pid_t other;

	setvbuf(stdout, NULL, _IOLBF, 0);
	lay_out();
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (argc > 1 && !strcmp(argv[1], kinds[i].kind))
			k = &kinds[i];
	if (!k)
		return 95;
	t = aim(k);
	snprintf(path, sizeof path, "first:bin:%s", getenv("PATH"));
	setenv("PATH", path, 1);
	child_errno = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < EXECS; i++) {
		if (argc > 3 && strcmp(argv[3], execs[i].name))
			continue;
		other = occupied(ms);
		after_fork(&execs[i], &t);
		leave(other);
		other = occupied(ms);
		after_vfork(&execs[i], &t);
		leave(other);
		if (!k->runs)
			without_a_child(&execs[i], &t);
	}
	for (int search = 0; search < 2; search++) {
		other = occupied(ms);
		by_spawn(search, &t);
		leave(other);
	}
	return 0;
}
