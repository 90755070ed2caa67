/* What Debian's libstdc++.a and libgcc_eh.a ask of glibc and musl does not have: with it a program in C++ that throws
 * nothing and reads no streams is linked to musl (scripts/setup). */
#include <locale.h>
#include <sys/random.h>
#include <time.h>

char __libc_single_threaded;

unsigned int arc4random(void)
{
	unsigned int number = 0;

	return getrandom(&number, sizeof number, 0) == sizeof number ? number : 0;
}

int _dl_find_object(void *at, void *result)
{
	(void)at;
	(void)result;
	return -1;
}

size_t __strftime_l(char *to, size_t size, const char *format, const struct tm *time, locale_t locale)
{
	return strftime_l(to, size, format, time, locale);
}
