/* blocks: calls each function in which a process may sleep, with what it waits for there, after a while, in vain and
 * wrongly, in forked workers; prints what each has returned. */
#include "jobs.h"
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

static int ends[2]; /* a pair of sockets: what is written to the one is read from the other */
static int listener;
static struct sockaddr_in address;

/* After a while, so that the other side sleeps. */
static void later(void (*act)(void))
{
	if (fork() == 0) {
		nap(30);
		act();
		_exit(0);
	}
}

static void send_byte(void)
{
	if (write(ends[1], "x", 1) != 1)
		_exit(95);
}

static void call(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof address))
		_exit(96);
	nap(100);
}

static void told(const char *door, long ret, int error)
{
	printf("%s: %ld %s\n", door, ret, ret < 0 ? strerror(error) : "");
	fflush(stdout);
}

#define TOLD(door, call) \
	do { \
		errno = 0; \
		long ret_ = (call); \
		told(door, ret_, errno); \
	} while (0)

/* A door that reads: a byte that comes later, and a descriptor that is none. */
#define READS(door, of) \
	do { \
		later(send_byte); \
		TOLD(door, of(ends[0])); \
		while (wait(NULL) > 0) \
			; \
		TOLD(door, of(-1)); \
	} while (0)

static char byte;
static struct iovec place = { &byte, 1 };
static struct msghdr message = { .msg_iov = &place, .msg_iovlen = 1 };

static long by_read(int fd) { return read(fd, &byte, 1); }
static long by_readv(int fd) { return readv(fd, &place, 1); }
static long by_recv(int fd) { return recv(fd, &byte, 1, 0); }
static long by_recvfrom(int fd) { return recvfrom(fd, &byte, 1, 0, NULL, NULL); }
static long by_recvmsg(int fd) { return recvmsg(fd, &message, 0); }

static long by_poll(int fd)
{
	struct pollfd one = { fd, POLLIN, 0 };
	long ret = poll(&one, 1, fd < 0 ? 5 : -1);

	return ret == 1 ? by_read(fd) : ret;
}

static long by_ppoll(int fd)
{
	struct pollfd one = { fd, POLLIN, 0 };
	struct timespec soon = { 0, 5000000 };
	long ret = ppoll(&one, 1, fd < 0 ? &soon : NULL, NULL);

	return ret == 1 ? by_read(fd) : ret;
}

static long by_select(int fd)
{
	struct timeval soon = { 0, 5000 };
	fd_set set;

	FD_ZERO(&set);
	if (fd < 0)
		return select(-1, &set, NULL, NULL, &soon);
	FD_SET(fd, &set);
	return select(fd + 1, &set, NULL, NULL, NULL) == 1 ? by_read(fd) : -1;
}

static long by_pselect(int fd)
{
	struct timespec soon = { 0, 5000000 };
	fd_set set;

	FD_ZERO(&set);
	if (fd < 0)
		return pselect(0, &set, NULL, NULL, &soon, NULL);
	FD_SET(fd, &set);
	return pselect(fd + 1, &set, NULL, NULL, NULL, NULL) == 1 ? by_read(fd) : -1;
}

static int watching(int fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		_exit(97);
	return epoll;
}

static long by_epoll_wait(int fd)
{
	struct epoll_event event;
	int epoll = watching(fd);
	long ret = epoll_wait(epoll, &event, fd < 0 ? 0 : 1, -1);

	close(epoll);
	return ret == 1 ? by_read(fd) : ret;
}

static long by_epoll_pwait(int fd)
{
	struct epoll_event event;
	int epoll = watching(fd);
	long ret = epoll_pwait(epoll, &event, 1, fd < 0 ? 5 : -1, NULL);

	close(epoll);
	return ret == 1 ? by_read(fd) : ret;
}

static void accepts(void)
{
	later(call);
	TOLD("accept", accept(listener, NULL, NULL) >= 0);
	while (wait(NULL) > 0)
		;
	later(call);
	TOLD("accept4", accept4(listener, NULL, NULL, SOCK_CLOEXEC) >= 0);
	while (wait(NULL) > 0)
		;
	TOLD("accept", accept(-1, NULL, NULL));
	TOLD("accept4", accept4(0, NULL, NULL, -1));
}

static sem_t sem;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int round_;

static void *wakes(void *nothing)
{
	nap(30);
	sem_post(&sem);
	pthread_mutex_lock(&lock);
	round_++;
	pthread_cond_signal(&cond);
	pthread_mutex_unlock(&lock);
	return nothing;
}

static struct timespec in(clockid_t clock, int seconds)
{
	struct timespec time;

	clock_gettime(clock, &time);
	time.tv_sec += seconds;
	return time;
}

static int by_clock(int way, int seconds)
{
	struct timespec time = in(way == 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME, seconds);

	if (way == 0)
		return pthread_cond_wait(&cond, &lock);
	if (way == 1)
		return pthread_cond_timedwait(&cond, &lock, &time);
	return pthread_cond_clockwait(&cond, &lock, CLOCK_MONOTONIC, &time);
}

static void locks(void)
{
	const char *names[] = { "pthread_cond_wait", "pthread_cond_timedwait", "pthread_cond_clockwait" };
	struct timespec past = { 1, 0 }, far = in(CLOCK_REALTIME, 60), mono = in(CLOCK_MONOTONIC, 60);
	pthread_t thread;

	sem_init(&sem, 0, 0);
	for (int way = 0; way < 3; way++) {
		pthread_create(&thread, NULL, wakes, NULL);
		if (way == 0)
			TOLD("sem_wait", sem_wait(&sem));
		if (way == 1)
			TOLD("sem_timedwait", sem_timedwait(&sem, &far));
		if (way == 2)
			TOLD("sem_clockwait", sem_clockwait(&sem, CLOCK_MONOTONIC, &mono));
		pthread_join(thread, NULL);
		pthread_mutex_lock(&lock);
		round_ = 0;
		pthread_create(&thread, NULL, wakes, NULL);
		int ret = 0;
		while (round_ == 0 && ret == 0)
			ret = by_clock(way, 60);
		pthread_mutex_unlock(&lock);
		told(names[way], ret, 0);
		pthread_join(thread, NULL);
		sem_wait(&sem);
	}
	TOLD("sem_timedwait", sem_timedwait(&sem, &past));
	TOLD("sem_clockwait", sem_clockwait(&sem, CLOCK_MONOTONIC, &past));
	pthread_mutex_lock(&lock);
	told("pthread_cond_timedwait", pthread_cond_timedwait(&cond, &lock, &past), 0);
	told("pthread_cond_clockwait", by_clock(2, -1), 0);
	pthread_mutex_unlock(&lock);
}

static void all(void)
{
	READS("read", by_read);
	READS("readv", by_readv);
	READS("recv", by_recv);
	READS("recvfrom", by_recvfrom);
	READS("recvmsg", by_recvmsg);
	READS("poll", by_poll);
	READS("ppoll", by_ppoll);
	READS("select", by_select);
	READS("pselect", by_pselect);
	READS("epoll_wait", by_epoll_wait);
	READS("epoll_pwait", by_epoll_pwait);
	accepts();
	locks();
}

int main(void)
{
	int status;

	for (int i = 0; i < 3; i++) {
		socklen_t size = sizeof address;

		/* Each has its own. */
		address.sin_family = AF_INET;
		address.sin_port = 0;
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		listener = socket(AF_INET, SOCK_STREAM, 0);
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || bind(listener, (struct sockaddr *)&address, size) ||
		    listen(listener, 4) || getsockname(listener, (struct sockaddr *)&address, &size))
			return 3;
		if (fork() == 0) {
			sign(1);
			burn(40);
			all();
			sign(0);
			_exit(i);
		}
	}
	for (int i = 0; i < 3; i++)
		if (wait(&status) > 0)
			printf("%d ended\n", WEXITSTATUS(status));
	return 0;
}
