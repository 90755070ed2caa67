/* show: what a program started through a door finds: its arguments and one variable. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	const char *mark = getenv("DOOR_MARK");
	size_t bytes = 0;

	for (int i = 0; i < argc; i++)
		bytes += strlen(argv[i]) + 1;
	printf("  shown: %d arguments, %zu bytes, first %s, last %.20s, mark %s\n", argc, bytes,
	       argv[0], argv[argc - 1], mark ? mark : "none");
	return 7;
}
