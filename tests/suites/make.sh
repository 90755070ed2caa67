# shellcheck shell=sh disable=SC2154 # it is sourced by run.sh
# GNU make's own tests from its source package. A part is a test, MAKE the program.

prepare() {
    mkdir -p make/src && cp -r "$SUITE/tests" make/ || return 1
    # How the source is recognised.
    touch make/src/gnumake.h
    # These are for tests with a make that was just built.
    sed 's/@[A-Za-z_]*@//' "$SUITE/tests/config-flags.pm.in" >make/tests/config-flags.pm
    # The runner clears the environment. MAKEFLAGS must be: the makes below it have pools of their own.
    keep=LD_PRELOAD,JSSHIM_DIR,JSSHIM_GATE,JSSHIM_TEST_ID
    sed -i "s/^ *'LD_LIBRARY_PATH',/&  split(',', '$keep'),/" make/tests/test_driver.pl
    ! cmp -s "$SUITE/tests/test_driver.pl" make/tests/test_driver.pl || return 1
    # A make older than 4.4 warns that a recipe without `+` has closed the pool. With the library it joins.
    grep -q jobserver-style make/tests/scripts/features/jobserver ||
        sed -i '/^# Test recursion which is hidden/,/^}/d' make/tests/scripts/features/jobserver
}

part() {
    log=$PWD/log
    cp -r "$here/make" . && cd make/tests || return 1
    /usr/bin/perl run_make_tests.pl -srcdir "${PWD%/tests}" -make "$MAKE" "$1" >"$log" 2>&1 </dev/null
    status=$?
    sed -nE 's/.*(ok +\([0-9]+ passed\)|FAILED \([^)]*\)|N\/A).*/\1/p' "$log"
    return $status
}
