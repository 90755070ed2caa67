#!/bin/sh
# Runs parts of a program's own test-suite, some of them side by side, and prints the results of each.
#
# usage: run.sh DRIVER WIDTH PART...
#
# DRIVER defines `prepare`, which lays out in the current folder what the parts share, and `part`, which
# runs one part in a folder of its own and prints a line for each result. What else the part prints is
# dropped, except what the library says.

here=$PWD
case $1 in
--one)
    . "$2"
    name=$(echo "$3" | tr ' /' '--')
    mkdir -p "parts/$name" && cd "parts/$name" || exit 1
    part "$3" >"$here/$name.out" 2>"$here/$name.err"
    echo "exit $?" >>"$here/$name.out"
    exit 0
    ;;
esac

driver=$1 width=$2
shift 2
. "$driver"
prepare || exit 1
printf '%s\n' "$@" | xargs -d '\n' -P "$width" -n 1 sh "$0" --one "$driver"
for part; do
    name=$(echo "$part" | tr ' /' '--')
    sed "s|^|$part: |" "$name.out"
    sed '/^jsshim/!d' "$name.err" "parts/$name/log" >&2
done
