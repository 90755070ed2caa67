# shellcheck shell=sh disable=SC2154 # it is sourced by run.sh
# Python's own tests, with Debian's Python. A part is a module, and words of which one must be in the name
# of a test; "busy" runs them beside a job that holds the implicit slot and most of the time all tokens.

prepare() { :; }

part() {
    set -f
    # shellcheck disable=SC2086 # it is several words
    /usr/bin/python3 "$SUITES/suite.py" results $1 >log 2>&1 </dev/null
    status=$?
    cat results
    return $status
}
