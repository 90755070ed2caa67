//! What a user of `jsshim` reads, and what the command gets as it was: signals, descriptors.

use std::fs;

use crate::harness::programs::{artifact, compiled, compiled_with, output, python, script};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        version_says_jsshim,
        tools_that_are_misspelt,
        usage_names_all_ways,
        a_reader_that_goes,
        a_full_disk,
        ignored_sigpipe_reaches_the_command,
        blocked_signals_reach_the_command,
        closed_descriptors_reach_the_command,
        why_a_command_cannot_be_run,
        values_that_are_not_understood,
        colours_are_for_terminals,
        commands_are_completed,
        the_page_is_of_the_program,
    ]
}

/// A script of bash in which `$CLI` is jsshim, and `$SHIM` starts a program by it in the run with the library.
fn bash(text: &str) -> Run {
    let text = format!("SHIM=${{JSSHIM_LIB:+$CLI -j2 --}}\n{text}");
    Run::new(&["bash", "-c", &text])
        .env("CLI", &artifact("jsshim").unwrap_or_default())
        .env("PYTHON", &python())
        .preload_inside()
        .any_peak()
}

fn once(run: Run, check: impl Fn(&Outcome) + 'static) {
    if artifact("jsshim").is_some() {
        run.check(check).once();
    }
}

fn version_says_jsshim() {
    let version = format!("jsshim {}\n", env!("CARGO_PKG_VERSION"));
    once(bash("$CLI --version; $CLI -V"), move |o| assert_eq!(o.text(), version.repeat(2)));
}

fn tools_that_are_misspelt() {
    let meant = [
        ("statsu", "status"),
        ("doctr", "doctor"),
        ("reprot", "report"),
        ("completion", "completions"),
        ("help", "--help"),
        ("version", "--version"),
    ];
    for (typed, tool) in meant {
        let said = format!("jsshim: {typed}: command not found; did you mean 'jsshim {tool}'?\n");
        once(bash(&format!("exec $CLI {typed}")), move |o| {
            assert_eq!((o.status.code(), o.stderr.as_str()), (Some(127), said.as_str()));
        });
    }
    for other in ["./statsu", "frobnicate", "s"] {
        let said = format!("jsshim: {other}: command not found\n");
        once(bash(&format!("exec $CLI {other}")), move |o| assert_eq!(o.stderr, said));
    }
    let there = "echo echo ran >statsu; sed -i '1i #!/bin/sh' statsu; chmod +x statsu; PATH=$PWD:$PATH exec $CLI statsu";
    once(bash(there), |o| assert_eq!((o.text().as_str(), o.stderr.as_str()), ("ran\n", "")));
}

fn usage_names_all_ways() {
    once(bash("$CLI --help; $CLI -j2 2>&1; $CLI --nonsense 2>&1; true"), |o| {
        let ways = [
            "[-j N] [--all] [--trace FILE] [--progress] [--] CMD [ARG]...",
            "status [--watch | --json]",
        ];
        let more = [
            "report FILE -o OUT",
            "stats FILE",
            "doctor [--json] [CMD [ARG]...]",
            "completions SHELL",
        ];
        for way in ways.iter().chain(&more) {
            assert_eq!(o.text().matches(&format!("jsshim {way}\n")).count(), 3, "{way}");
        }
    });
}

/// The reader of a pipe has gone, before the first byte or after it: nothing is said, and the status is as ever.
fn a_reader_that_goes() {
    const GONE: &str = "
import os, subprocess, sys
r, w = os.pipe()
os.close(r)
sys.exit(subprocess.run(sys.argv[1:], stdout=w).returncode)
";
    for tool in
        ["doctor", "doctor --json", "completions bash", "status", "--manual", "--help", "--version"]
    {
        let text = format!("$PYTHON -c \"$GONE\" $CLI {tool}");
        once(bash(&text).env("GONE", GONE), |o| {
            assert_eq!((o.status.code(), o.stderr.as_str()), (Some(0), ""));
        });
    }
    let text = "$PYTHON -c \"$GONE\" sh -c 'exec $CLI statsu 2>&1'";
    once(bash(text).env("GONE", GONE), |o| assert_eq!(o.status.code(), Some(127)));
    let text = "set -o pipefail; for i in 1 2 3 4 5 6 7 8 9 10; do $CLI doctor | grep -q library || echo $?; done";
    once(bash(text), |o| assert_eq!((o.text().as_str(), o.stderr.as_str()), ("", "")));
}

fn a_full_disk() {
    for tool in ["doctor", "completions bash", "status"] {
        once(bash(&format!("exec $CLI {tool} >/dev/full")), |o| {
            let said = "jsshim: standard output cannot be written: No space left on device\n";
            assert_eq!((o.status.code(), o.stderr.as_str()), (Some(2), said));
        });
    }
}

fn ignored_sigpipe_reaches_the_command() {
    bash("trap '' PIPE; exec $SHIM grep SigIgn /proc/self/status").both();
    bash("exec $SHIM grep SigIgn /proc/self/status").both();
    bash("trap '' PIPE; $SHIM sh -c 'yes' | head -n1; echo ${PIPESTATUS[0]}")
        .ignoring("yes: ")
        .both();
}

fn blocked_signals_reach_the_command() {
    const BLOCK: &str = "
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])
os.execvp(sys.argv[1], sys.argv[1:])
";
    let text = "exec $PYTHON -c \"$BLOCK\" $SHIM grep SigBlk /proc/self/status";
    bash(text).env("BLOCK", BLOCK).both();
}

fn closed_descriptors_reach_the_command() {
    let list = "for fd in 0 1 2; do test -e /proc/$$/fd/$fd || echo $fd is closed >&5; done";
    for closed in ["<&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"] {
        let text = format!("$SHIM sh -c '{list}' 5>list {closed}; cat list");
        bash(&text).both();
    }
}

fn why_a_command_cannot_be_run() {
    let show = compiled_with("show", "show-no-loader", &["-Wl,--dynamic-linker=/no/such/loader"]);
    let cases = [
        ("printf '#!/bin/sh\\r\\n' >x; chmod +x x; exec $CLI ./x", "x: cannot be run: its first line ends with a carriage return (CRLF), which the kernel takes for a part of its interpreter's name"),
        ("printf '#!/no/such/shell -e\\n' >x; chmod +x x; exec $CLI ./x", "x: cannot be run: its interpreter /no/such/shell is missing"),
        ("printf '#! /no/such/shell' >x; chmod +x x; PATH=$PWD:$PATH exec $CLI x", "x: cannot be run: its interpreter /no/such/shell is missing"),
        ("exec $CLI $NO_LOADER", "show-no-loader: cannot be run: its interpreter /no/such/loader is missing"),
        ("echo >x; exec $CLI ./x", "x: cannot be run: it is not executable"),
        ("echo >x; PATH=$PWD:$PATH exec $CLI x", "x: cannot be run: it is not executable"),
        ("mkdir x; exec $CLI ./x", "x: cannot be run: it is a directory"),
        ("exec $CLI --trace /no/such/t -- true", "cannot write /no/such/t: No such file or directory"),
        ("exec $CLI report /no/such -o x.svg", "/no/such: No such file or directory"),
    ];
    for (text, said) in cases {
        once(bash(text).env("NO_LOADER", &show), move |o| {
            assert!(
                o.stderr.starts_with("jsshim: ") && o.stderr.ends_with(&format!("{said}\n")),
                "not: {said}"
            );
            assert_eq!(o.status.code(), Some(if said.contains("cannot be run") { 126 } else { 2 }));
        });
    }
}

/// One line for each, whoever is at the top, and however many processes there are.
fn values_that_are_not_understood() {
    for start in ["$CLI -j2 --", "env LD_PRELOAD=$JSSHIM_LIB"] {
        let text = format!(
            "export JSSHIM_GATE=junk JSSHIM_COUNT=junk JSSHIM_STALL=junk JSSHIM_LOAD=junk JSSHIM_ENV=junk JSSHIM_TRACE=yes
            export JSSHIM_WAIT=junk
            {start} bash -c 'for i in 1 2 3; do bash -c \"$JOB -s 20 & $JOB -s 20 & wait\" & done; wait'; test ! -e yes"
        );
        once(bash(&text).env("JOB", &compiled("job")), move |o| {
            let mut said: Vec<_> = o.stderr.lines().collect();
            said.sort_unstable();
            let wanted = [
                "jsshim: JSSHIM_COUNT is neither running nor processes; running is used",
                "jsshim: JSSHIM_ENV is not respect; it is not used",
                "jsshim: JSSHIM_GATE is not auto, parent or child; auto is used",
                "jsshim: JSSHIM_LOAD is not a number; it is not used",
                "jsshim: JSSHIM_STALL is neither seconds nor off; it is not used",
                "jsshim: JSSHIM_TRACE is no file; no trace is written",
                "jsshim: JSSHIM_WAIT is neither pidfd nor selfpipe; it is not used",
            ];
            assert_eq!((o.status.code(), &said[..]), (Some(0), &wanted[..]));
        });
    }
    let text = "JSSHIM_JOB=4 JSSHIM_STAT=1 JSSHIM_TEST_IDX=1 $CLI -j2 -- true";
    once(bash(text), |o| {
        let mut said: Vec<_> = o.stderr.lines().collect();
        said.sort_unstable();
        let wanted = [
            "jsshim: JSSHIM_JOB is no variable of jsshim; did you mean JSSHIM_JOBS?",
            "jsshim: JSSHIM_STAT is no variable of jsshim; did you mean JSSHIM_STATS?",
        ];
        assert_eq!(said, wanted);
    });
}

fn colours_are_for_terminals() {
    let text = "
        seen() { grep -c $'\\x1b' || true; }
        on() { script -qec \"$*\" /dev/null </dev/null; }
        export TERM=xterm; unset NO_COLOR
        on $CLI doctor | seen; on $CLI --help | seen
        NO_COLOR=1 on $CLI doctor | seen; NO_COLOR=1 on $CLI --help | seen
        TERM=dumb on $CLI doctor | seen; $CLI doctor | seen; $CLI doctor --json | seen";
    once(bash(text), |o| {
        let text = o.text();
        let counts: Vec<u32> = text.lines().map(|l| l.parse().unwrap()).collect();
        assert_eq!(counts.len(), 7, "{text}");
        assert!(
            counts[..2].iter().all(|n| *n > 0) && counts[2..].iter().all(|n| *n == 0),
            "{text}"
        );
    });
}

/// The first word: tools and commands. Behind a command what its own completion gives, else files.
fn commands_are_completed() {
    let text = "
        $CLI completions bash >c.bash; $CLI completions fish >c.fish; $CLI completions zsh >c.zsh
        touch a-file-of-mine
        complete_it() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_LINE=\"$*\"; COMP_POINT=${#COMP_LINE}
            COMPREPLY=(); _jsshim jsshim \"${@: -1}\" \"${@: -2:1}\"; printf '%s\\n' \"${COMPREPLY[@]}\" | sort -u; }
        . ./c.bash
        complete_it jsshim xarg | grep -x xargs
        complete_it jsshim docto | grep -x doctor
        complete_it jsshim -j 2 -- xarg | grep -x xargs
        complete_it jsshim -j2 xarg | grep -x xargs
        complete_it jsshim --tra | grep -x -- --trace
        complete_it jsshim xargs a-file | grep -x a-file-of-mine
        complete_it jsshim doctor xarg | grep -x xargs
        fish -c 'source c.fish; complete -C\"jsshim xarg\"' | cut -f1 | grep -x xargs
        fish -c 'source c.fish; complete -C\"jsshim docto\"' | cut -f1 | grep -x doctor
        fish -c 'source c.fish; complete -C\"jsshim doctor xarg\"' | cut -f1 | grep -x xargs
        zsh -n c.zsh; grep -c _cmdambivalent c.zsh";
    let wanted =
        "xargs\ndoctor\nxargs\nxargs\n--trace\na-file-of-mine\nxargs\nxargs\ndoctor\nxargs\n2\n";
    once(bash(text), move |o| assert_eq!(o.text(), wanted));
}

/// jsshim(1) comes from the same source as `--help`: jsshim --manual >man/jsshim.1
fn the_page_is_of_the_program() {
    let Some(cli) = artifact("jsshim") else { return };
    let page = fs::read_to_string(script("../man/jsshim.1")).unwrap();
    assert_eq!(page, output(&cli, &["--manual"]), "make it anew by: jsshim --manual >man/jsshim.1");
}
