/* soak jobs COUNT		many jobs through one instance on a pool of 64; prints the ns of a job, for each
 *				hundredth of them
 * soak instances SECONDS	below a pool: eight instances, now one, now the other, take and give back
 *				tokens for so long; prints how many jobs that were */
#include "check.h"
#include <malloc.h>

/* At its exit, valgrind would look for leaks in it. */
static int at_once(void *data)
{
	kill(getpid(), SIGKILL);
	return data != NULL;
}

static long nanos(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000 + now.tv_nsec;
}

static long jobs(struct jobserver *js, long count)
{
	long start = nanos();

	for (long i = 0; i < count; i++) {
		check(jobserver_launch_job(js, -1, i % 2, NULL, at_once, done) == 0);
	}
	return (nanos() - start) / count;
}

static void many(long count)
{
	struct jobserver js;
	char tokens[64] = "";
	long each[100];
	int before, seen = 0;
	size_t heap;

	heap = mallinfo2().uordblks;
	memset(&js, 0, sizeof js);
	for (int i = 0; i < 63; i++)
		tokens[i] = (char)(i + 1);
	check(jobserver_create(&js, tokens) == 64);
	before = descriptors();
	for (int i = 0; i < 100; i++)
		each[i] = jobs(&js, count / 100);
	check(jobserver_collect(&js, -1) == 0);
	check(done_count == count / 100 * 100 && descriptors() == before);
	check(read(js.poll[1].fd, tokens, 64) == 63);
	for (int i = 0; i < 63; i++)
		seen += tokens[i];
	check(seen == 63 * 64 / 2 && write(js.write, tokens, 63) == 63);
	check(jobserver_close(&js) == 0 && jobserver_unsetenv(&js) == 0);
	/* But for what malloc keeps at hand. */
	check(mallinfo2().uordblks <= heap + 8192);
	for (int i = 0; i < 100; i++)
		printf("%ld\n", each[i]);
}

static int naps(void *data)
{
	nap(rand() % 4);
	return data != NULL;
}

static void instances(long seconds)
{
	struct jobserver js[8];
	long end = millis() + seconds * 1000;

	srand((unsigned)getpid());
	for (int i = 0; i < 8; i++)
		check(jobserver_connect(&js[i]) == 0);
	while (millis() < end) {
		struct jobserver *one = &js[rand() % 8];
		int r;

		switch (rand() % 8) {
		case 0:
			r = jobserver_wait(one, rand() % 3);
			break;
		case 1:
			r = jobserver_clear(one);
			break;
		case 2:
			check(jobserver_clear(one) == 0 && jobserver_close(one) == 0);
			r = jobserver_connect(one);
			break;
		case 3:
			r = jobserver_collect(one, 1);
			break;
		default:
			r = jobserver_launch_job(one, rand() % 3, rand() % 2, NULL, naps, done);
			check(r == 0 || errno == EAGAIN);
			continue;
		}
		check(r >= 0);
	}
	for (int i = 0; i < 8; i++)
		check(jobserver_collect(&js[i], -1) == 0 && jobserver_close(&js[i]) == 0);
	check(done_count > 0);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	(strcmp(argv[1], "jobs") ? instances : many)(atol(argv[2]));
	return 0;
}
