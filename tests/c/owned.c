/* owned: stands where a helper should, and notes as whom it was run. It starts nothing, is linked statically, so that no
 * preload reaches it, and notes no more than a few: a library that runs it must not make an endless chain of it. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	int fd = open("/opt/js/owned", O_WRONLY | O_APPEND | O_CREAT, 0666);
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st) && st.st_size < 200)
		dprintf(fd, "uid %d euid %d\n", (int)getuid(), (int)geteuid());
	return 0;
}
