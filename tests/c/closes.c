/* closes HOW: eight jobs, two at a time at least, by a host that between them does with every descriptor
 * above 2 what HOW says: closefrom, close_range, loop, cloexec (node's sweep), reuse (a file of its own under each number
 * that is open), move (dup2 of its own pipe onto each), or read-only (/dev/null under each). */
#include "jobs.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Calls f with each open descriptor above 2 but that of the list itself. */
static void each(void (*f)(int fd, int arg), int arg)
{
	int fds[1024], n = 0;
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;

	while (dir && (e = readdir(dir)) && n < 1024)
		if (atoi(e->d_name) > 2 && atoi(e->d_name) != dirfd(dir))
			fds[n++] = atoi(e->d_name);
	if (dir)
		closedir(dir);
	for (int i = 0; i < n; i++)
		f(fds[i], arg);
}

static void shut(int fd, int arg) { (void)arg; close(fd); }
static void mark(int fd, int arg) { (void)arg; ioctl(fd, FIOCLEX); }
static void cover(int fd, int arg) { if (fd != arg) dup2(arg, fd); }

static void go(const char *how)
{
	int fd, ends[2];

	if (!strcmp(how, "closefrom"))
		closefrom(3);
	else if (!strcmp(how, "close_range"))
		syscall(SYS_close_range, 3, ~0U, 0);
	else if (!strcmp(how, "loop"))
		for (fd = 3; fd < 4096; fd++)
			close(fd);
	else if (!strcmp(how, "shut"))
		each(shut, 0);
	else if (!strcmp(how, "cloexec"))
		each(mark, 0);
	else if (!strcmp(how, "reuse")) {
		fd = open("own", O_RDWR | O_CREAT, 0600);
		each(cover, fd);
	} else if (!strcmp(how, "move") && !pipe(ends)) {
		each(cover, ends[0]);
	} else if (!strcmp(how, "read-only")) {
		fd = open("/dev/null", O_RDONLY);
		each(cover, fd);
	}
}

static pid_t start(void)
{
	char *argv[] = { getenv("JOB"), "-s", "60", NULL };
	pid_t pid = fork();

	if (!pid) {
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

int main(int argc, char **argv)
{
	int status, wrong = 0;
	struct stat st;

	if (argc < 2)
		return 2;
	for (int i = 0; i < 8; i++) {
		start();
		go(argv[1]);
	}
	while (wait(&status) > 0)
		wrong += status != 0;
	go(argv[1]);
	/* Nothing of ours was written to what is the host's. */
	printf("%d wrong, own file %ld bytes\n", wrong, stat("own", &st) ? 0L : (long)st.st_size);
	return 5;
}
