/* table CONDITION SLOT: goes through every door by which a child is started or collected, a row each,
 * and prints whatever the caller and the child can see. CONDITION is what the host does with SIGCHLD;
 * SLOT is "alone" (no job of the host runs beside the row's), "joined" (the same, but two have run at
 * once before), "other" (another child has the host's own slot while the door is called) or "threaded"
 * (the same, and the host has a second thread).
 *
 * table gates DOOR [EXEC [threads]]: starts three jobs at once by one door.
 *
 * Run in an empty folder, where it lays out its programs: itself under other names. */
#include "table.h"
#include <libgen.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void put(const char *path, mode_t mode, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0)
		perror(path);
	close(fd);
}

static void lay_out(void)
{
	static const char *const names[] = { "target", "await", "other", "job" };
	char self[4096], path[16384], text[8600];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	self[n > 0 ? n : 0] = 0;
	mkdir("bin", 0755);
	mkdir("first", 0755);
	mkdir("there", 0755);
	if (symlink("../bin", "there/bin"))
		perror("there/bin");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "bin/%s", names[i]);
		if (symlink(self, path))
			perror(path);
	}
	put("bin/not-executable", 0644, "#!/bin/sh\nexit 1\n");
	snprintf(text, sizeof text, "%s/bin/await %s; exit 3\n", folder, folder);
	put("bin/no-format", 0755, text);
	if (symlink("bin/no-format", "no-format"))
		perror("no-format");
	snprintf(path, sizeof path, "%s/first:%s/bin:%s", folder, folder, getenv("PATH"));
	setenv("PATH", path, 1);
	setenv("TABLE_MARK", "inherited", 1);
}

/* A copy of the environment and one more, as programs give it. */
static char **given(void)
{
	static char **envp;

	if (!envp)
		envp = marked("TABLE_MARK=given");
	return envp;
}

void aim(struct row *r)
{
	static char path[4200], *nothing;
	struct target *t = &r->target;
	int far = r->dressed && r->door->traits & SPAWNS;

	snprintf(path, sizeof path, "%s%sbin/%s", far ? folder : "", far ? "/" : "", r->program);
	*t = (struct target){ .path = path, .name = r->program, .envp = given() };
	if (r->bare)
		t->envp = r->bare == NO_VARIABLES ? &nothing : r->bare == NO_ENVIRONMENT ? NULL : t->envp;
	if (r->bare == NO_ARGUMENTS)
		return;
	t->argv[0] = (char *)r->program;
	t->argv[1] = "";
	t->argv[2] = "third argument";
	t->argv[3] = folder;
	if (r->fails)
		snprintf(r->command, sizeof r->command, "bin/await %s && exec bin/%s", folder, r->program);
	else
		snprintf(r->command, sizeof r->command, "bin/%s '' 'third argument' %s", r->program, folder);
}

/* Does the driver wait for a slot? Of what is called here, nothing else is a ppoll. */
static int driver_polls(void)
{
	char path[64], call[16] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/syscall", shared->driver);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, call, sizeof call - 1);
	close(fd);
	return n > 0 && atol(call) == SYS_ppoll;
}

/* The child that has the host's own slot for a while. It goes when it is told to, or when the driver waits
 * for it; or after a time, where that cannot be seen. */
static int be_the_other(void)
{
	for (int i = 0; i < (shared->patient ? 1500 : 200) && !shared->go_other; i++) {
		if (driver_polls())
			break;
		pause_a_moment();
	}
	return 3;
}

static int be_the_target(int argc, char **argv)
{
	say("  arguments");
	for (int i = 0; i < argc && i < 3; i++)
		say(" [%s]", argv[i]);
	say(" of %d\n", argc);
	report(1);
	say_environment();
	flush_to_file();
	behave(1);
}

/* Two jobs at once, so that later rows find the process in that state. */
static void join(void)
{
	char *argv[] = { "other", folder, NULL };
	pid_t pids[2] = { 0 };

	for (int i = 0; i < 2; i++)
		posix_spawn(&pids[i], "bin/other", NULL, NULL, argv, environ);
	for (int i = 0; i < 2; i++)
		waitpid(pids[i], NULL, 0);
}

/* A thread that has no part in anything. */
_Noreturn static void *idle(void *unused)
{
	(void)unused;
	for (;;)
		pause();
}

static void start_thread(void)
{
	pthread_t thread;
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, idle, NULL))
		perror("pthread_create");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void count_prepared(void) { shared->prepared++; }
static void count_parent(void) { shared->parents++; }
static void count_child(void) { shared->children++; }

int main(int argc, char **argv)
{
	/* The kernel makes an empty argument where there is none. */
	int bare = argc == 0 || !*argv[0];
	const char *name = basename(bare ? (char *)getauxval(AT_EXECFN) : argv[0]);
	int index = 0;

	if (strncmp(name, "table", 5)) {
		if (bare && !getcwd(folder, sizeof folder))
			return 95;
		if (!bare)
			snprintf(folder, sizeof folder, "%s", argv[argc - 1]);
		share(0);
		if (!strcmp(name, "other"))
			return be_the_other();
		if (!strcmp(name, "job"))
			be_a_job();
		if (!strcmp(name, "target"))
			return be_the_target(argc, argv);
		await_other();
		return 0;
	}
	if (argc < 3 || !getcwd(folder, sizeof folder))
		return 95;
	/* The other child may look at what this process does. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	/* A pipe that the tests were started with would keep the library from waiting in this process. */
	for (int fd = 5; fd < 900; fd++)
		close(fd);
	share(1);
	lay_out();
	if (!strcmp(argv[1], "gates"))
		return gates(argv[2], argc > 3 ? argv[3] : "", argc > 4);
	while (index < n_conditions && strcmp(conditions[index].name, argv[1]))
		index++;
	if (index == n_conditions)
		return 95;
	condition = &conditions[index];
	pthread_atfork(count_prepared, count_parent, count_child);
	if (!strcmp(argv[2], "joined"))
		join();
	if (!strcmp(argv[2], "threaded"))
		start_thread();
	run_rows(index, !strcmp(argv[2], "other") || !strcmp(argv[2], "threaded"));
	return 0;
}
