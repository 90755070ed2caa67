# shellcheck shell=sh disable=SC2154 # it is sourced by run.sh
# Bash's own tests from its source package, with Debian's bash. A part is a file; its result is what it
# prints. Those that would run files which take long are without them: these are parts of their own.

prepare() {
    cp -r "$SUITE/tests" bash && mkdir -p tmp || return 1
    sed -i '/^\${THIS_SH} \.\/\(jobs[0-9]\|trap4\)\.sub/d' bash/jobs.tests bash/trap.tests
    # They write to fixed names there, and others may run them, too.
    sed -i "s|/tmp/|$here/tmp/|g" bash/*.tests bash/*.sub
    # They ask for the configuration of the bash that they are built with.
    mkdir bash/include && touch bash/include/config.h
    for program in recho zecho printenv xcase; do
        cc -w -Ibash/include -I"$SUITE/include" -I"$SUITE" -include stdlib.h -include string.h \
            -o "bash/$program" "$SUITE/support/$program.c" || return 1
    done
}

part() {
    log=$PWD/log
    export THIS_SH=/bin/bash BUILD_DIR="$here/bash" BASH_TSTOUT="$log.out" PATH=".:$PATH" TMPDIR="$PWD"
    cd "$here/bash" || return 1
    /bin/bash "./$1" >"$log" 2>&1 </dev/null
    status=$?
    # What differs from run to run.
    sed -E "s|$here|.|g; s/(process group|kill:) \([0-9]+\)/\1 (PID)/; s/^(real|user|sys) .*/\1/
        /^jsshim/d" "$log"
    return $status
}
