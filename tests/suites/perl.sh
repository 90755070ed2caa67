# shellcheck shell=sh disable=SC2154 # it is sourced by run.sh
# Perl's own tests from its source package, with Debian's perl. A part is a file.

prepare() {
    cp -r "$SUITE/." perl || return 1
    ln -s /usr/bin/perl perl/t/perl
    # The modules are those of the installed perl, not those of the source.
    sed -i '/@INC = () unless is_miniperl;/d' perl/t/test.pl
    sed -i "s|@INC = '../lib'|push @INC, '../lib'|" perl/t/run/*.t
}

# Of a result: its number, and whether it was left out or was expected to fail.
part() {
    log=$PWD/log
    case $1 in
    t/*) cd "$here/perl/t" && /usr/bin/perl -I. "${1#t/}" >"$log.out" 2>"$log" </dev/null ;;
    *) cd "$here/perl/${1%/t/*}" && /usr/bin/perl -Ilib "t/${1##*/t/}" >"$log.out" 2>"$log" </dev/null ;;
    esac
    status=$?
    sed -nE 's/^ *((not )?ok +[0-9]+).*# *(skip|TODO)\b.*/\1 \3/Ip; t
        s/^ *((not )?ok +[0-9]+|1\.\.[0-9]+).*/\1/p' "$log.out"
    return $status
}
