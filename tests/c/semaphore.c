/* semaphore wait|post|make|unlink NAME: a named semaphore. */
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	sem_t *sem;

	if (argc != 3)
		return 2;
	if (!strcmp(argv[1], "unlink"))
		return sem_unlink(argv[2]) != 0;
	sem = sem_open(argv[2], O_CREAT, 0600, 0);
	if (sem == SEM_FAILED) {
		perror("sem_open");
		return 1;
	}
	if (!strcmp(argv[1], "wait"))
		while (sem_wait(sem))
			;
	else if (!strcmp(argv[1], "post"))
		sem_post(sem);
	return sem_close(sem) != 0;
}
