/* pages: what a forked child pays for looking at one page more before it execs, for scripts/bench.
 *   pages ROUNDS FILE   fork, exec of /bin/true and reap, in ns of wall time; a column for each kind of page
 *                       that the child touches before: none; code of FILE, which the kernel maps sixteen pages
 *                       at a time; a page of shared memory; a page that its parent has written; all three
 * All lie in one region, whose page table a child has anyway, as they do in a program and its libraries. */
#define PROGRAM "pages"
#include "common.h"
#include <sys/mman.h>

enum { KINDS = 5, PAGE = 4096, REGION = 2 << 20, FILE_AT = REGION / 4, SHARED_AT = REGION / 2, WARM = 20 };

static volatile char *region;
static char *true_argv[] = { "/bin/true", NULL };

static void *map(size_t at, size_t length, int protection, int how, int fd)
{
	void *place = mmap((char *)region + at, length, protection, how, fd, 0);

	if (place == MAP_FAILED)
		die("mmap");
	return place;
}

static void lay_out(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	char *start;

	if (fd < 0)
		die(file);
	start = map(0, 2 * REGION, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	region = start + (REGION - (unsigned long)start % REGION) % REGION;
	map(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	map(FILE_AT, 16 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd);
	map(SHARED_AT, 128 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1);
	close(fd);
	region[0] = region[PAGE] = region[SHARED_AT] = region[FILE_AT] | 1;
}

static long long child(int kind)
{
	long long from = now();
	int status;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		/* The page table is there, as in a child that runs any library. */
		region[0] = 1;
		if (kind == 1 || kind == 4)
			(void)region[FILE_AT];
		if (kind == 2 || kind == 4)
			region[SHARED_AT] = 1;
		if (kind == 3 || kind == 4)
			region[PAGE] = 1;
		execve(true_argv[0], true_argv, environ);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		die("a child failed");
	return now() - from;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	lay_out(argv[2]);
	for (int round = -WARM; round < atoi(argv[1]); round++) {
		long long took[KINDS];

		for (int i = 0; i < KINDS; i++) {
			int kind = (i + round + WARM) % KINDS;

			took[kind] = child(kind);
		}
		for (int kind = 0; round >= 0 && kind < KINDS; kind++)
			printf("%lld%c", took[kind], kind < KINDS - 1 ? ' ' : '\n');
	}
	return fflush(stdout) ? 1 : 0;
}
