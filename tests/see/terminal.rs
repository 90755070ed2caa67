//! What is shown on a terminal, as tmux sees it: `status --watch`, `--progress`.

use super::{is_here, part, script};
use crate::harness::programs::python;
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        running_jobs_are_seen_first,
        keys_sort_and_filter,
        a_signal_gives_the_terminal_back,
        stopped_and_continued,
        progress_in_the_last_line,
        progress_without_a_terminal,
        progress_ends_as_the_command_does,
        progress_hands_signals_on,
        progress_changes_nothing_for_the_command,
    ]
}

/// A terminal of 80 columns and 24 lines in which a shell types what it is told.
const TERMINAL: &str = r#"
export TMUX_TMPDIR=$PWD JSSHIM_GATE=child; unset TMUX
t() { tmux -f /dev/null "$@"; }
screen() { t capture-pane -p; }
shows() {
    until screen | grep -q -- "$1"; do
        [ $((n += 1)) -lt 300 ] || { echo "not shown: $1"; screen; t kill-server; touch go; exit 9; }
        sleep 0.1
    done
}
type() { t send-keys "$@"; }
open() { t new-session -d -x 80 -y 24 "PS1='shell> ' exec bash --norc --noprofile"; shows 'shell>'; }
jobs45() {
    $CLI -j2 -- bash -c 'for i in $(seq 10 54); do $JOB -w go -i $i-is-the-number-of-a-long-name-that-is-cut-in-the-middle-and-ends.o & done; wait' &
    until $CLI status | grep -q ' 43 held'; do sleep 0.2; done
}
"#;

fn on_terminal(text: &str) -> Run {
    let text = format!("{TERMINAL}{text}\nt kill-server; touch go; wait");
    script(&text).env("TERM", "screen").any_peak()
}

fn shown(text: &str, check: impl Fn(&Outcome) + 'static) {
    if is_here() {
        let quiet = |o: &Outcome| assert_eq!((o.status.code(), o.stderr.as_str()), (Some(0), ""));
        on_terminal(text).check(quiet).check(check).once();
    }
}

/// 43 wait, more than there are lines.
fn running_jobs_are_seen_first() {
    let text = "jobs45; open; type \"$CLI status --watch\" Enter; shows token; sleep 1.5
        echo --- screen; screen; type q; shows 'shell>$'";
    shown(text, |o| {
        let screen = part(o, "screen");
        let lines: Vec<_> = screen.lines().collect();
        assert!(lines[0].starts_with("jsshim: 1 pool, by state; q ends"), "{screen}");
        assert!(lines[1].starts_with("pool /"), "{screen}");
        assert!(lines[2].starts_with("  busy: ██"), "a second each: {screen}");
        assert!(lines[3].contains("slots: 2 in use, 0 free, 2 in all  [##]"), "{screen}");
        assert!(lines[4].contains("jobs: 2 running, 43 held, 0 done in "), "{screen}");
        let is = |line: usize, state: &str| lines[line].contains(&format!("  {state} "));
        assert!(is(6, "implicit") || is(6, "token"), "{screen}");
        assert!(is(7, "implicit") || is(7, "token"), "{screen}");
        assert!((8..24).all(|line| is(line, "held")), "{screen}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{screen}");
        let whole =
            |line: usize| lines[line].contains("  job -w go ") && lines[line].ends_with(".o");
        assert!((6..24).all(whole), "both ends of each name: {screen}");
    });
}

fn keys_sort_and_filter() {
    let text = "jobs45; open; type \"$CLI status --watch\" Enter; shows 'by state'
        type s; shows 'by time'; type r; shows 'by time reversed'; type r s; shows 'by name;'
        echo --- name; screen; type r; shows 'by name reversed'; echo --- reversed; screen
        type / 33-is; shows 'show what has: 33-is_'; type Enter; shows \"with '33-is'\"
        echo --- filter; screen; type Escape; shows 'by name reversed; q'
        type /; type held Enter; shows \"with 'held'\"; echo --- held; screen
        type Escape; shows 'reversed; q'; type q; shows 'shell>$'; echo --- end; screen";
    shown(text, |o| {
        let jobs = |name: &str| -> Vec<String> {
            let screen = part(o, name);
            let jobs = screen.lines().filter(|l| l.contains("  job -w go "));
            jobs.map(|l| l[l.find("  job -w").unwrap()..].to_owned()).collect()
        };
        let number =
            |job: &String| -> u32 { job.split(" -i ").nth(1).unwrap()[..2].parse().unwrap() };
        let numbers = |name: &str| -> Vec<u32> { jobs(name).iter().map(number).collect() };
        assert_eq!(numbers("name"), (10..28).collect::<Vec<_>>());
        assert_eq!(numbers("reversed"), (37..55).rev().collect::<Vec<_>>());
        assert_eq!(numbers("filter"), [33]);
        assert!(part(o, "held").lines().skip(6).all(|l| l.contains("  held ")));
        assert!(!part(o, "end").contains("jsshim:"), "the screen of before");
    });
}

/// The state of the terminal before and after, and how it ended.
fn a_signal_gives_the_terminal_back() {
    for (signal, status) in [("TERM", 15), ("HUP", 1), ("INT", 2), ("QUIT", 3)] {
        let text = format!(
            "jobs45; open; type 'stty -g >before' Enter 'ulimit -c 0' Enter
            cat >runs.py <<'END'
import os, subprocess
p = subprocess.Popen([os.environ['CLI'], 'status', '--watch'])
print(p.pid, file=open('pid', 'w'), flush=True)
print('ended with', p.wait())
END
            type '$PY runs.py' Enter
            shows token; t display -p '#{{alternate_on}}#{{cursor_flag}}'
            kill -{signal} $(cat pid); shows '^ended with'
            type 'stty -g >after' Enter; until [ -s after ]; do sleep 0.1; done
            t display -p '#{{alternate_on}}#{{cursor_flag}}'; cmp before after && screen | grep '^ended'"
        );
        shown(&text, move |o| {
            assert_eq!(o.text(), format!("10\n01\nended with -{status}\n"));
        });
    }
}

fn stopped_and_continued() {
    let text = "jobs45; open; type \"$CLI status --watch\" Enter; shows token
        type C-z; shows Stopped; t display -p '#{alternate_on}'; type fg Enter; shows token
        t display -p '#{alternate_on}'; type q; shows 'shell>$'; t display -p '#{alternate_on}'";
    shown(text, |o| assert_eq!(o.text(), "0\n1\n0\n"));
}

/// The output of the command scrolls above it; when it ends, nothing is left.
fn progress_in_the_last_line() {
    let text = r#"
        cat >build <<'END'
for i in $(seq 40); do echo line $i; done
for i in 1 2 3 4 5; do $JOB -w go$i -i part$i & done; wait; echo over
END
        open; type "$CLI -j2 --progress -- bash build; echo status \$?" Enter
        shows '3 held'; echo --- held; screen
        touch go1 go2; shows '2 done'; echo --- done; screen
        t resize-window -x 60 -y 12; shows '2 done'; sleep 1; echo --- small; screen
        touch go3 go4 go5; shows '^status 0'; sleep 0.6; echo --- end; screen"#;
    shown(text, |o| {
        let last = |name: &str| part(o, name).lines().last().unwrap().to_owned();
        let held = part(o, "held");
        assert_eq!(held.lines().count(), 24, "{held}");
        assert!(last("held").starts_with("[0 done, 2 running on 2/2 slots, 3 held, "), "{held}");
        assert!(last("held").contains(" job -w go"), "{held}");
        assert!(held.lines().any(|l| l == "line 40"), "{held}");
        assert_eq!(held.matches("held").count(), 1, "{held}");
        assert!(last("done").starts_with("[2 done, 2 running on 2/2 slots, 1 held, "));
        let small = part(o, "small");
        assert!(small.lines().count() == 12 && small.matches("running on").count() == 1, "{small}");
        assert!(last("small").starts_with("[2 done, 2 running"), "{small}");
        let end = part(o, "end");
        assert!(end.contains("over\nstatus 0\nshell>"), "{end}");
        assert!(!end.contains("running"), "{end}");
    });
}

fn progress_without_a_terminal() {
    if !is_here() {
        return;
    }
    let text = "$CLI -j2 --progress -- bash -c '$JOB -s 1500 & $JOB -s 1500 & wait; echo out'";
    let check = |o: &Outcome| {
        assert_eq!(o.text(), "out\n");
        let lines: Vec<_> = o.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "one in ten seconds");
        assert!(lines[0].starts_with("jsshim: ["), "{}", lines[0]);
        assert!(lines[0].contains(" done, ") && lines[0].contains("/2 slots, "), "{}", lines[0]);
    };
    script(text).check(check).once();
}

/// For whoever waits for it, the wait status is that of the command.
fn progress_ends_as_the_command_does() {
    if !is_here() {
        return;
    }
    let text = r#"
        cat >ends.py <<'END'
import os, signal, subprocess, sys
for how in ["exit 0", "exit 7", "exit 255", "kill -TERM $$", "kill -INT $$", "kill -KILL $$", "kill -SEGV $$"]:
    ends = []
    for words in ([], [os.environ["CLI"], "-j2", "--progress", "--"]):
        ends.append(subprocess.run([*words, "dash", "-c", how]).returncode)
    print(how, ends[0] == ends[1], ends[1])
# Who ignores SIGCHLD has children that are to be seen all the same.
ignore = lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ignoring", subprocess.run([*words, "dash", "-c", "exit 9"], preexec_fn=ignore).returncode == 9)
END
        ulimit -c 0; $PY ends.py
        $CLI --progress no-such-command; echo $?"#;
    let check = |o: &Outcome| {
        let text = o.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 9, "{text}");
        assert!(lines[..8].iter().all(|line| line.contains(" True")), "{text}");
        assert_eq!(lines[8], "127");
        assert_eq!(o.stderr, "jsshim: no-such-command: command not found\n");
    };
    script(text).any_peak().check(check).once();
}

/// What is sent to this program reaches the command, once; what the terminal sends reaches it once, too.
fn progress_hands_signals_on() {
    if !is_here() {
        return;
    }
    for signal in ["TERM", "HUP", "USR1", "USR2", "INT", "QUIT"] {
        let text = r#"
            cat >traps <<'END'
trap 'echo got; n=$((n+1))' SIG
echo up >up; until [ $n ]; do sleep 0.1; done; sleep 0.5; exit 4$n
END
            cat >sends.py <<'END'
import os, signal, subprocess, time
p = subprocess.Popen([os.environ["CLI"], "-j2", "--progress", "--", "bash", "traps"], stderr=2)
while not os.path.exists("up"):
    time.sleep(0.1)
p.send_signal(signal.SIGSIG)
print(p.wait())
END
            $PY sends.py 2>/dev/null"#;
        let check = move |o: &Outcome| assert_eq!(o.text(), "got\n41\n", "{signal}: {}", o.stderr);
        script(
            &text
                .replace("SIGSIG", &format!("SIG{signal}"))
                .replace(" SIG\n", &format!(" {signal}\n")),
        )
        .any_peak()
        .check(check)
        .once();
    }
    let text = r#"
        cat >traps <<'END'
trap 'echo got; n=$((n+1))' INT
echo up; until [ $n ]; do sleep 0.1; done; sleep 0.5; exit 4$n
END
        open; type "$CLI -j2 --progress -- bash traps; echo status \$?" Enter; shows '^up'
        type C-c; shows '^status 41'"#;
    shown(text, |_| ());
}

/// Signals that are ignored or blocked, descriptors, arguments: as without the option.
fn progress_changes_nothing_for_the_command() {
    let words = "${JSSHIM_LIB:+$CLI -j2 --progress --}";
    let run =
        |text: &str| script(&text.replace("$SHIM", words)).env("PYTHON", &python()).any_peak();
    run("exec $SHIM grep Sig[PBIC] /proc/self/status").both();
    run("trap '' PIPE INT TERM; exec $SHIM grep Sig[PBIC] /proc/self/status").both();
    const BLOCK: &str = "import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD])
os.execvp(sys.argv[1], sys.argv[1:])";
    let text = "exec $PYTHON -c \"$BLOCK\" $SHIM grep -E 'Sig(Blk|Ign)' /proc/self/status";
    run(text).env("BLOCK", BLOCK).both();
    let list = "for fd in 0 1 2; do test -e /proc/$$/fd/$fd || echo $fd is closed >&5; done";
    for closed in ["<&-", "2>&-", "<&- >&- 2>&-"] {
        run(&format!("$SHIM sh -c '{list}' 5>list {closed}; cat list")).both();
    }
    run("$SHIM printf '%s|' --progress -j3 -- '' 'a b'").both();
    run("echo input | $SHIM cat").both();
}
