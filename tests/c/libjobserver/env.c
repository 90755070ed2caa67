/* MAKEFLAGS: what is written, and that it is read back. */
#include "check.h"

static const char *written(const char *old, int r, int w, const char *letters)
{
	if (old)
		setenv("MAKEFLAGS", old, 1);
	else
		unsetenv("MAKEFLAGS");
	check(jobserver_setenv_(r, w, !!strchr(letters, 'n'), !!strchr(letters, 'd'),
				!!strchr(letters, 'k')) == 0);
	return getenv("MAKEFLAGS");
}

#define BOTH "-j --jobserver-fds=3,4 --jobserver-auth=3,4"

static void strings(void)
{
	static const struct {
		const char *old, *letters, *with, *without;
	} rows[] = {
		{ NULL, "", BOTH, NULL },
		{ "", "", BOTH, "" },
		{ NULL, "n", "n " BOTH, "n" },
		{ "d", "n", "dn " BOTH, "dn" },
		{ "n", "n", "n " BOTH, "n" },
		{ "-- NAME=VALUE", "", BOTH " -- NAME=VALUE", "-- NAME=VALUE" },
		{ "i --long-option -j4 --jobserver-auth=1,2 -- NAME=VALUE", "ndk",
		  "indk --long-option " BOTH " -- NAME=VALUE",
		  "indk --long-option -- NAME=VALUE" },
		/* The last word; between other options; several; behind the definitions. */
		{ "id -j4 --jobserver-auth=1,2", "", "id " BOTH, "id" },
		{ "k -j4 --no-print-directory --jobserver-fds=1,2 -l2", "",
		  "k --no-print-directory -l2 " BOTH, "k --no-print-directory -l2" },
		{ " -j --jobserver-fds=1,2 --jobserver-auth=-2,-2", "k", "k " BOTH, "k" },
		{ " -j2 --jobserver-auth=fifo:/tmp/GMfifo1 -- A=--jobserver-auth=5,6", "",
		  " " BOTH " -- A=--jobserver-auth=5,6", " -- A=--jobserver-auth=5,6" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *now = written(rows[i].old, 3, 4, rows[i].letters);
		int r, w;
		bool n, d, k;

		if (strcmp(now, rows[i].with)) {
			fprintf(stderr, "'%s' gave '%s'\n", rows[i].old, now);
			exit(1);
		}
		check(jobserver_getenv_(&r, &w, &n, &d, &k) == 0 && r == 3 && w == 4);
		now = written(now, -1, -1, "");
		check(now && (!rows[i].without || strspn(now, " ") == strlen(now) ||
			      strcmp(now, rows[i].without) == 0 ||
			      strcmp(now + 1, rows[i].without) == 0));
		check(jobserver_getenv_(&r, &w, &n, &d, &k) == 0 && r == -1 && w == -1);
		/* Removed at once is the same. */
		now = written(rows[i].old, -1, -1, rows[i].letters);
		check(rows[i].without ? now && !strcmp(now, rows[i].without) :
					!now && !rows[i].without);
		for (const char *l = "ndk"; *l; l++)
			if (strchr(rows[i].letters, *l))
				check(now == NULL || strchr(now, *l));
	}
}

static void reads(const char *flags, int want_r, int want_w, const char *letters)
{
	int r = 77, w = 77;
	bool n, d, k;

	setenv("MAKEFLAGS", flags, 1);
	check(jobserver_getenv_(&r, &w, &n, &d, &k) == 0);
	if (r != want_r || w != want_w || n != !!strchr(letters, 'n') ||
	    d != !!strchr(letters, 'd') || k != !!strchr(letters, 'k')) {
		fprintf(stderr, "'%s' read as %d,%d %d%d%d\n", flags, r, w, n, d, k);
		exit(1);
	}
}

/* As each make writes it, and what a careless reader stumbles over. */
static void reading(void)
{
	reads(" --jobserver-fds=3,4 -j", 3, 4, "");
	reads("- --jobserver-fds=3,4 -j", 3, 4, "");
	reads(" -j --jobserver-fds=3,4", 3, 4, "");
	reads("k -j3 --jobserver-auth=3,4 -- A=1", 3, 4, "k");
	reads("kn -j --jobserver-fds=3,4 --jobserver-auth=3,4", 3, 4, "kn");
	reads(" -j3 --jobserver-auth=1,2 --jobserver-auth=3,4", 3, 4, "");
	reads(" -j3 --jobserver-auth=1,2 --jobserver-fds=3,4", 3, 4, "");
	reads(" -j3 --jobserver-auth=3,4 -- B=--jobserver-auth=5,6", 3, 4, "");
	reads(" -- B=--jobserver-auth=5,6", -1, -1, "");
	reads("d -j3 --jobserver-auth=fifo:/tmp/GMfifo7", -1, -1, "d");
	reads("w -k -d --no-print-directory", -1, -1, "kd");
	reads("-n", -1, -1, "n");
	reads("", -1, -1, "");
	unsetenv("MAKEFLAGS");
	int r, w;
	bool n, d, k;
	check(jobserver_getenv_(&r, &w, &n, &d, &k) == 0 && r == -1 && w == -1);
}

static void of_an_instance(void)
{
	struct jobserver js, joined;
	char want[100];

	setenv("MAKEFLAGS", "i -j4 --jobserver-auth=77,78 -- A=1", 1);
	memset(&js, 0, sizeof js);
	js.keep_going = true;
	check(jobserver_create_n(&js, 2, 't') == 3);
	snprintf(want, sizeof want, "ik -j --jobserver-fds=%d,%d --jobserver-auth=%d,%d -- A=1",
		 js.poll[1].fd, js.write, js.poll[1].fd, js.write);
	check(strcmp(getenv("MAKEFLAGS"), want) == 0);
	check(jobserver_connect(&joined) == 0);
	check(joined.keep_going && !joined.debug && !joined.dry_run);
	check(joined.poll[1].fd == js.poll[1].fd && joined.write == js.write);
	check(jobserver_unsetenv(&js) == 0 && strcmp(getenv("MAKEFLAGS"), "ik -- A=1") == 0);
	check(jobserver_setenv(&joined) == 0 && strcmp(getenv("MAKEFLAGS"), want) == 0);
	check(jobserver_close(&joined) == 0);
	/* Close leaves the environment alone. */
	check(strcmp(getenv("MAKEFLAGS"), want) == 0);
	stop(&js);
}

/* A pool that is a fifo is announced as one, blanks and all. */
static void of_a_fifo(void)
{
	struct jobserver js, again;
	int fd;

	check(mkfifo("a fifo", 0600) == 0 && (fd = open("a fifo", O_RDWR)) >= 0);
	check(write(fd, "xy", 2) == 2);
	setenv("MAKEFLAGS", " -j3 --jobserver-auth=fifo:a\\ fifo -- A=1", 1);
	check(jobserver_connect(&js) == 0);
	check(jobserver_unsetenv(&js) == 0 && !strstr(getenv("MAKEFLAGS"), "fifo"));
	check(jobserver_setenv(&js) == 0);
	check(strstr(getenv("MAKEFLAGS"), "--jobserver-auth=fifo:a\\ fifo -- A=1"));
	check(jobserver_connect(&again) == 0 && level(&again) == 2);
	check(jobserver_close(&again) == 0 && jobserver_close(&js) == 0);
	unlink("a fifo");
}

static void printed(void)
{
	struct jobserver js;
	char text[1000], want[1000], empty[1] = "";
	FILE *stream = fmemopen(text, sizeof text, "w");
	pid_t pid;
	int n;

	create(&js, "q");
	pid = launch(&js, job_stays, NULL);
	pid = launch(&js, job_stays, empty);
	n = jobserver_print(stream, &js, ", ", "; ", "\n");
	fclose(stream);
	check(n == (int)strlen(text));
	n = snprintf(want, sizeof want,
		     "dry run: 0, debug: 0, keep-going: 0, stopped: -1, read: %d, write: %d, size: 1, "
		     "has-free-token: 0, jobs: 2\n",
		     js.poll[1].fd, js.write);
	check(strncmp(text, want, n) == 0);
	snprintf(want, sizeof want, "token: 'q'; pid: %d; done: %p; data: %p", pid, (void *)done,
		 (void *)empty);
	check(strstr(text, want) && strstr(text, "token: '-'; pid: ") && strstr(text, "data: (nil)\n"));
	stop(&js);
}

CASES({ "strings", strings }, { "reading", reading }, { "of_an_instance", of_an_instance },
      { "of_a_fifo", of_a_fifo }, { "printed", printed })
