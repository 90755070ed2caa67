# shellcheck shell=sh disable=SC2154 # it is sourced by run.sh
# Zsh's own tests from its source package, with Debian's zsh. A part is a file.

prepare() { :; }

# The files want the shell where it would have been built.
part() {
    mkdir Src Test && ln -s /usr/bin/zsh Src/zsh || return 1
    log=$PWD/log
    export TMPPREFIX="$PWD/zsh" ZTST_verbose=1 ZTST_continue=1 ZTST_exe=/usr/bin/zsh
    cd Test || return 1
    /usr/bin/zsh +Z -f "$SUITE/Test/ztst.zsh" "$SUITE/Test/$1.ztst" >"$log" 2>&1 </dev/null
    status=$?
    sed -nE '/^Running test: |^Test successful|^Test skipped/p
        s/^Test .* failed: (bad status.*|output differs|error output differs).*/failed: \1/p
        s/^Test failed, as expected.*/&/p; s/^.*: (test failed|all tests successful)\.$/\1/p' "$log"
    return $status
}
