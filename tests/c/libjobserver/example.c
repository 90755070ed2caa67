/* The example of jobserver(7): runs each argument as a command, as many at once as there are tokens, and one
 * more.
 *
 *	a.out 2 '/usr/bin/date --iso-8601' '/usr/bin/hostname -i' /usr/bin/whoami
 *	a.out ! '/usr/bin/make --version' '/usr/bin/sleep 2'
 *
 * With '!' there must be a job server. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jobserver.h"

/* In a process of its own: becomes the command. */
static int command(void *data)
{
	char *words[64], *line = data;
	int n = 0;

	fprintf(stderr, "Launching job '%s'.\n", line);
	for (char *word = strtok(line, " "); word && n < 63; word = strtok(NULL, " "))
		words[n++] = word;
	words[n] = NULL;
	execv(words[0], words);
	fprintf(stderr, "Execv failed: %s.\n", strerror(errno));
	return EXIT_FAILURE;
}

static void collected(void *data, int status)
{
	fprintf(stderr, "Job '%s' collected with status: %d.\n", (char *)data, status);
}

static void join(struct jobserver *js, const char *tokens)
{
	fprintf(stderr, "Connecting to jobserver ...");
	if (jobserver_connect(js) == 0) {
		fprintf(stderr, " done.\n");
		return;
	}
	fprintf(stderr, " no jobserver found");
	if (*tokens == '!') {
		if (errno == EACCES)
			fprintf(stderr, " (recursive make invocation without '+')");
		fprintf(stderr, " and '!' was specified.\n");
		exit(EXIT_FAILURE);
	}
	if (errno == EACCES) {
		fprintf(stderr, ": recursive make invocation without '+'.\n");
		exit(EXIT_FAILURE);
	}
	if (errno != ENODEV) {
		fprintf(stderr, ": %s.\n", strerror(errno));
		exit(EXIT_FAILURE);
	}
	fprintf(stderr, ".\nCreating jobserver ...");
	if (jobserver_create_n(js, (size_t)atoi(tokens), 't') == -1) {
		fprintf(stderr, " %s.\n", strerror(errno));
		exit(EXIT_FAILURE);
	}
	fprintf(stderr, " done.\n");
}

int main(int argc, char **argv)
{
	struct jobserver js;
	int left;

	if (argc < 2)
		return EXIT_FAILURE;
	join(&js, argv[1]);
	for (int i = 2; i < argc; i++)
		if (jobserver_launch_job(&js, -1, true, argv[i], command, collected) == -1)
			return EXIT_FAILURE;
	while ((left = jobserver_collect(&js, -1)) != 0)
		if (left == -1 && errno != EINTR)
			return EXIT_FAILURE;
	return jobserver_close(&js) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
