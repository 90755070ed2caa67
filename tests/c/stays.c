/* stays NAME [FILE]: a measured job that runs until the file FILE exists (NAME.go, if none is given) and
 * then exits with the length of NAME; it says on its standard output when it comes and goes. */
#include "jobs.h"
#include <string.h>

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "-";
	char path[256];

	snprintf(path, sizeof path, "%s%s", argc > 2 ? argv[2] : name, argc > 2 ? "" : ".go");
	sign(1);
	printf("%s is up\n", name);
	fflush(stdout);
	while (access(path, F_OK) < 0)
		nap(10);
	printf("%s goes\n", name);
	fflush(stdout);
	sign(0);
	return (int)strlen(name);
}
