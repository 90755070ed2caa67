/* crowd WAY COUNT ROUNDS MS: COUNT forked workers wait until this host wakes all of them at once, and each
 * computes for MS; ROUNDS times. WAY is what they wait in: read, recv, poll, select, epoll, sem, cond, futex. */
#include "jobs.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct shared {
	atomic_int waiting, round;
	sem_t sem;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	pthread_barrier_t all; /* nobody takes what wakes the others */
};

static struct shared *shared;
static int near, far; /* a worker reads from the one, the host writes to the other */
static int count, rounds;
static const char *way;

static int is(const char *name)
{
	return !strcmp(way, name);
}

static void take(void)
{
	char byte;

	if (read(near, &byte, 1) != 1)
		_exit(94);
}

static void wait_by_poll(void)
{
	struct pollfd one = { near, POLLIN, 0 };

	while (poll(&one, 1, -1) != 1)
		;
	take();
}

static void wait_by_select(void)
{
	fd_set set;

	do {
		FD_ZERO(&set);
		FD_SET(near, &set);
	} while (select(near + 1, &set, NULL, NULL, NULL) != 1);
	take();
}

static void wait_by_epoll(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (epoll_ctl(fd, EPOLL_CTL_ADD, near, &event))
		_exit(93);
	while (epoll_wait(fd, &event, 1, -1) != 1)
		;
	close(fd);
	take();
}

static void wait_by_cond(int round)
{
	pthread_mutex_lock(&shared->lock);
	while (shared->round <= round)
		pthread_cond_wait(&shared->cond, &shared->lock);
	pthread_mutex_unlock(&shared->lock);
}

static void wait_for(int round)
{
	char byte;

	if (is("read"))
		take();
	else if (is("recv") && recv(near, &byte, 1, 0) != 1)
		_exit(94);
	else if (is("poll"))
		wait_by_poll();
	else if (is("select"))
		wait_by_select();
	else if (is("epoll"))
		wait_by_epoll();
	else if (is("sem"))
		while (sem_wait(&shared->sem))
			;
	else if (is("cond"))
		wait_by_cond(round);
	else if (is("futex"))
		while (shared->round <= round)
			syscall(SYS_futex, &shared->round, FUTEX_WAIT, round, NULL, NULL, 0);
}

static void wake(void)
{
	char bytes[256] = "";

	if (is("recv"))
		for (int i = 0; i < count; i++)
			send(far, bytes, 1, 0);
	else if (write(far, bytes, count) != count)
		_exit(92);
	for (int i = 0; i < count; i++)
		sem_post(&shared->sem);
	pthread_mutex_lock(&shared->lock);
	shared->round++;
	pthread_cond_broadcast(&shared->cond);
	pthread_mutex_unlock(&shared->lock);
	syscall(SYS_futex, &shared->round, FUTEX_WAKE, count, NULL, NULL, 0);
}

static void prepare(void)
{
	pthread_mutexattr_t mutex;
	pthread_condattr_t cond;
	pthread_barrierattr_t all;
	int ends[2];

	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || (is("recv") ? socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) : pipe(ends)))
		_exit(91);
	near = ends[0];
	far = ends[1];
	sem_init(&shared->sem, 1, 0);
	pthread_mutexattr_init(&mutex);
	pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&shared->lock, &mutex);
	pthread_condattr_init(&cond);
	pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED);
	pthread_cond_init(&shared->cond, &cond);
	pthread_barrierattr_init(&all);
	pthread_barrierattr_setpshared(&all, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&shared->all, &all, count);
}

static void worker(long ms)
{
	sign(1);
	for (int round = 0; round < rounds; round++) {
		shared->waiting++;
		wait_for(round);
		burn(ms);
		pthread_barrier_wait(&shared->all);
	}
	sign(0);
	_exit(0);
}

int main(int argc, char **argv)
{
	int status, failed = 0;

	if (argc != 5)
		return 2;
	way = argv[1];
	count = atoi(argv[2]);
	rounds = atoi(argv[3]);
	prepare();
	for (int i = 0; i < count; i++)
		if (fork() == 0)
			worker(atol(argv[4]));
	for (int round = 0; round < rounds; round++) {
		while (shared->waiting < count * (round + 1))
			nap(5);
		/* Until the last one sleeps, too. */
		nap(50);
		wake();
	}
	while (wait(&status) > 0)
		failed |= status;
	printf("%d rounds, %d\n", rounds, failed);
	return 0;
}
