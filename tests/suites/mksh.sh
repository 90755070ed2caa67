# shellcheck shell=sh disable=SC2154 # it is sourced by run.sh
# Mksh's own tests from its source package, with Debian's mksh. A part N/M is each Mth of the tests.

# The runner clears the environment.
prepare() {
    keep=LD_PRELOAD,MAKEFLAGS,TMPDIR,JSSHIM_DIR,JSSHIM_GATE,JSSHIM_POOL,JSSHIM_TEST_ID
    sed "s/^foreach \$env ((/&split(',', '$keep'), /" "$SUITE/check.pl" >check.pl
    ! cmp -s "$SUITE/check.pl" check.pl
}

part() {
    names=$(sed -n 's/^name: //p' "$SUITE/check.t" | awk -v "n=${1%/*}" -v "m=${1#*/}" 'NR % m == n')
    # shellcheck disable=SC2086 # they are several words
    /usr/bin/perl "$here/check.pl" -s "$SUITE/check.t" -p /bin/mksh -T "$PWD" -v \
        -C shell:legacy-no,int:32,fastbox $names >log 2>&1 </dev/null
    status=$?
    sed -nE 's/^(pass|FAIL) .*:/\1 /p' log
    return $status
}
