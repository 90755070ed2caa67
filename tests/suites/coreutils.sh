# shellcheck shell=sh disable=SC2154 # it is sourced by run.sh
# GNU coreutils' own tests from its source package, with Debian's programs. A part is a test; its result is its
# exit status, 77 where it leaves itself out.

prepare() {
    cp -r "$SUITE/." coreutils && mkdir -p coreutils/src && echo '#define HAVE_INOTIFY 1' >coreutils/src/config.h || return 1
    # A program of the source prints limits of the machine; those of the tests below.
    cat >coreutils/src/getlimits <<-'LIMITS'
	#!/bin/sh
	echo INT_MAX=2147483647; echo INT_OFLOW=2147483648; echo PID_T_MAX=2147483647
	for type in UINTMAX SIZE; do echo ${type}_MAX=18446744073709551615 ${type}_OFLOW=18446744073709551616; done
	for type in INTMAX SSIZE OFF_T TIME_T; do echo ${type}_MAX=9223372036854775807 ${type}_OFLOW=9223372036854775808; done
	LIMITS
    chmod +x coreutils/src/getlimits
}

# Some folders have other names from release to release.
part() {
    log=$PWD/log programs='tail timeout tee env dd split sleep cat seq test head printf mkfifo kill yes stdbuf'
    cd "$here/coreutils" || return 1
    for file in "tests/$1.sh" "tests/${1%%/*}-2/${1#*/}.sh"; do
        [ -e "$file" ] || continue
        built_programs="$programs" CONFIG_HEADER=$PWD/src/config.h AWK=awk EGREP='grep -E' \
            srcdir=. abs_srcdir=$PWD abs_top_srcdir=$PWD abs_top_builddir=$PWD LC_ALL=C SHELL=/bin/sh PERL=perl \
            PATH="$PWD/src:$PATH" /bin/sh "$file" >"$log" 2>&1 </dev/null 9>&2
        return
    done
    echo "no such test"
    return 1
}
