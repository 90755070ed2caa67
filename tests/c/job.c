/* job: one measured job.
 *   -b MS  burn processor time     -s MS  sleep           -i ID  name in the output
 *   -k KB  print KB kilobytes in numbered lines of 128 bytes   -l  last of all, when not in the register
 *   -x N   exit with status N       -w FILE  wait until FILE is there */
#include "jobs.h"
#include <string.h>

static void print_lines(const char *id, long kb)
{
	char line[129];

	for (long i = 0; i < kb * 8; i++) {
		int n = snprintf(line, sizeof line, "%s %06ld ", id, i);
		memset(line + n, '.', 127 - n);
		line[127] = '\n';
		fwrite(line, 1, 128, stdout);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	long burn_ms = 0, nap_ms = 0, kb = 0;
	int status = 0, late = 0, c;
	const char *id = "-", *file = NULL;

	while ((c = getopt(argc, argv, "b:s:k:li:x:w:")) != -1)
		switch (c) {
		case 'b': burn_ms = atol(optarg); break;
		case 's': nap_ms = atol(optarg); break;
		case 'k': kb = atol(optarg); break;
		case 'w': file = optarg; break;
		case 'l': late = 1; break;
		case 'i': id = optarg; break;
		case 'x': status = atoi(optarg); break;
		default: return 96;
		}
	sign(1);
	if (!late)
		print_lines(id, kb);
	burn(burn_ms);
	nap(nap_ms);
	while (file && access(file, F_OK) < 0)
		nap(10);
	sign(0);
	if (late)
		print_lines(id, kb);
	return status;
}
