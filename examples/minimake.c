/* minimake: a build tool on a page, on libjobserver.
 *
 *	cc -o minimake minimake.c -ljobserver
 *	minimake [-jN] FILE
 *
 * FILE has a rule on each two lines, as a makefile does: "target: needed targets", and behind a tab the
 * command. Each runs once, when all that it needs is done. Below make (in a recipe with '+') the slots are
 * make's; else there are N. -n, -d and -k of a make above are obeyed. */
#include <errno.h>
#include <jobserver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAITING, RUNNING, MADE, FAILED };

struct rule {
	char *name, *needs, *command;
	int state;
};

static struct rule rules[1000];
static int count, failures;
static struct jobserver js;

static int state_of(const char *name)
{
	for (int i = 0; i < count; i++)
		if (strcmp(rules[i].name, name) == 0)
			return rules[i].state;
	return access(name, F_OK) == 0 ? MADE : FAILED;
}

/* The worst that the rule waits for. */
static int needed(const struct rule *rule)
{
	char *list = strdup(rule->needs), *rest = list;
	int worst = MADE;

	for (char *name; (name = strtok_r(rest, " ", &rest));) {
		int state = state_of(name);

		if (state == FAILED || (worst != FAILED && state != MADE))
			worst = state;
	}
	free(list);
	return worst;
}

static int start(void *data)
{
	struct rule *rule = data;

	execl("/bin/sh", "sh", "-c", rule->command, (char *)NULL);
	return 127;
}

static void ended(void *data, int status)
{
	struct rule *rule = data;

	rule->state = status == 0 ? MADE : FAILED;
	if (status != 0) {
		failures++;
		fprintf(stderr, "minimake: %s failed (status %d)\n", rule->name, status);
	}
}

static enum jobserver_next next(void *context, struct jobserver_task *task)
{
	int later = 0;

	(void)context;
	for (struct rule *rule = rules; rule < rules + count; rule++) {
		if (rule->state != WAITING || (failures && !js.keep_going))
			continue;
		switch (needed(rule)) {
		case MADE:
			if (!task)
				return JOBSERVER_READY;
			if (js.debug)
				fprintf(stderr, "minimake: %s is ready\n", rule->name);
			rule->state = RUNNING;
			task->data = rule;
			task->func = start;
			task->done = ended;
			task->shared = true; /* a make in a command finds the pool */
			return JOBSERVER_READY;
		case FAILED:
			rule->state = FAILED;
			break;
		default:
			later = 1;
		}
	}
	return later ? JOBSERVER_LATER : JOBSERVER_DONE;
}

static void read_rules(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[4096], *colon;

	if (!file) {
		perror(path);
		exit(2);
	}
	while (fgets(line, sizeof line, file) && count < 1000) {
		line[strcspn(line, "\n")] = 0;
		if (*line == '\t' && count > 0) {
			rules[count - 1].command = strdup(line + 1);
		} else if ((colon = strchr(line, ':'))) {
			*colon = 0;
			rules[count++] = (struct rule){ strdup(line), strdup(colon + 1), "", WAITING };
		}
	}
	fclose(file);
}

int main(int argc, char **argv)
{
	int slots = argc == 3 && strncmp(argv[1], "-j", 2) == 0 ? atoi(argv[1] + 2) : 0, result;

	if (argc != 2 && slots < 1) {
		fprintf(stderr, "usage: minimake [-jN] FILE\n");
		return 2;
	}
	read_rules(argv[argc - 1]);
	if ((slots || jobserver_connect(&js) == -1) &&
	    jobserver_create_n(&js, slots ? slots - 1 : 0, '+') == -1) {
		perror("minimake: no job server");
		return 2;
	}
	result = jobserver_run(&js, next, NULL);
	if (result == -1)
		perror("minimake");
	for (struct rule *rule = rules; rule < rules + count; rule++)
		failures += !js.dry_run && rule->state == WAITING;
	jobserver_clear(&js); /* what a second Ctrl-C has left */
	jobserver_close(&js);
	return result ? 2 : failures != 0;
}
