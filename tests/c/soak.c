/* soak DOOR COUNT: starts /bin/true COUNT times, four at once, and prints what this process and the
 * library's run-time folder hold after a tenth of them and after all. */
#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static pid_t start(const char *door)
{
	static char *argv[] = { "/bin/true", NULL };
	pid_t pid = -1;

	if (!strcmp(door, "posix_spawn"))
		return posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) ? -1 : pid;
	pid = strcmp(door, "vfork") ? fork() : vfork();
	if (pid == 0) {
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

/* How many entries a folder has, and the bytes they take. */
static int entries(const char *path, long *bytes)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	struct stat st;
	int n = 0;

	*bytes = 0;
	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.' && !fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW)) {
			n++;
			*bytes += st.st_size;
		}
	if (dir)
		closedir(dir);
	return n;
}

static void tell(void)
{
	long bytes, ignored, pages = 0, total;
	FILE *statm = fopen("/proc/self/statm", "r");
	int fds, files;

	if (statm) {
		if (fscanf(statm, "%ld %ld", &total, &pages) != 2)
			pages = -1;
		fclose(statm);
	}
	fds = entries("/proc/self/fd", &ignored);
	files = entries(getenv("JSSHIM_DIR"), &bytes);
	printf("%d %ld %d %ld\n", fds, pages * 4, files, bytes);
}

static int reap(void)
{
	int status;

	return wait(&status) < 0 || status != 0;
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 10000, alive = 0;

	for (int n = 1; n <= count; n++) {
		if (start(argv[1]) < 0)
			return 91;
		if (++alive == 4) {
			alive--;
			if (reap())
				return 92;
		}
		if (n == count / 10 || n == count) {
			while (alive) {
				alive--;
				if (reap())
					return 93;
			}
			tell();
		}
	}
	return 0;
}
