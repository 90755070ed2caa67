//! A build in which everything that creates a process is looked at from outside, by strace with the stack
//! of each call: it is created inside a hook of the library, or its kind is on the list of those that no
//! preloaded library can see. So no door is forgotten.

use std::collections::HashMap;

use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, compiled_with, python};
use crate::harness::Run;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![every_process_of_a_build_is_created_inside_a_hook]
}

/// What cannot be seen, each with its reason and how it is told in a trace.
type Exception = (&'static str, fn(&Creation) -> bool);

const INVISIBLE: [Exception; 3] = [
    ("a static program loads no library", |c| c.at("/static(")),
    ("the guard makes its double, which is no job", |c| c.at("/jsshim-helper(")),
    ("a system call of the program itself goes through no function", |c| {
        c.at("libc.so.6(syscall+")
    }),
];

/// A process that was created.
struct Creation {
    call: String,
    stack: Vec<String>,
}

impl Creation {
    fn at(&self, place: &str) -> bool {
        self.stack.iter().any(|frame| frame.contains(place))
    }

    fn in_a_hook(&self) -> bool {
        self.at("/libjsshim.so(")
    }
}

/// Compilers, shells, Python, and programs with every other door.
fn build() -> Run {
    let rules = "
rule cc\n  command = gcc -O1 -c $in -o $out
rule link\n  command = gcc $in -o $out
rule run\n  command = ./$in $args && touch $out
rule sh\n  command = bash -c 'cat <(echo a) | sort | (read -r x; dash -c \"(true); true | true & wait\"); x=$$(true)' && touch $out
rule py\n  command = PYTHON $in && touch $out
build a.o: cc a.c\nbuild b.o: cc b.c\nbuild prog: link a.o b.o\nbuild prog.ran: run prog
build shell: sh\nbuild python: py step.py
build dynamic.ran: run dynamic\n  args = fork system popen wordexp clone syscall
build static.ran: run static\n  args = fork system popen wordexp clone syscall
";
    let rules = rules.replace("PYTHON", &python());
    let (dynamic, fixed) =
        (compiled("invisible"), compiled_with("invisible", "static", &["-static"]));
    let trace = "-e trace=clone,clone3,?fork,?vfork,rt_sigprocmask,getpid";
    let text = format!(
        "ln -s {dynamic} dynamic; ln -s {fixed} static
         strace -f -k -s 300 -e signal=none {trace} -o trace ${{JSSHIM_LIB:+-E LD_PRELOAD=$JSSHIM_LIB}} \
         ninja -j3 >log 2>&1 || {{ cat log; exit 9; }}; cat trace"
    );
    Run::new(&["bash", "-c", &text])
        .preload_inside()
        .file("build.ninja", &rules)
        .file("a.c", "int b(void); int main(void) { return b(); }\n")
        .file("b.c", "int b(void) { return 0; }\n")
        .file("step.py", STEP)
        .pool(Kind::Fifo, 2)
}

const STEP: &str = "
import multiprocessing, os, subprocess

def square(x):
    return x * x

if __name__ == '__main__':
    subprocess.run(['true'], check=True)
    subprocess.check_output('echo hi', shell=True, preexec_fn=os.setsid)
    os.system('true')
    os.popen('true').close()
    with multiprocessing.Pool(2) as pool:
        assert pool.map(square, range(4)) == [0, 1, 4, 9]
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        assert pool.map(square, range(4)) == [0, 1, 4, 9]
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    os.waitpid(os.posix_spawn('/bin/true', ['true'], os.environ), 0)
    os.waitpid(os.spawnvp(os.P_NOWAIT, 'true', ['true']), 0)
";

fn every_process_of_a_build_is_created_inside_a_hook() {
    let created = |shimmed| {
        let outcome = build().run(shimmed);
        assert!(outcome.status.success(), "{}", outcome.text());
        creations(&outcome.text())
    };
    let plain = created(false);
    assert!(plain.len() > 50, "only {} processes", plain.len());
    assert!(!plain.iter().any(Creation::in_a_hook));
    let (seen, others): (Vec<_>, Vec<_>) = created(true).into_iter().partition(Creation::in_a_hook);
    assert!(seen.len() + others.len() >= plain.len(), "{} and {}", seen.len(), others.len());
    let mut used = [false; INVISIBLE.len()];
    for creation in &others {
        let kind = INVISIBLE.iter().position(|(_, is_it)| is_it(creation));
        let Creation { call, stack } = creation;
        let kind = kind.unwrap_or_else(|| panic!("{call}\n{}", stack.join("\n")));
        used[kind] = true;
    }
    for ((reason, _), used) in INVISIBLE.iter().zip(used) {
        assert!(used, "never met, so no longer true: {reason}");
    }
}

/// Reads the output of `strace -f -k`: a line for each call, or two; after it its stack, a line a frame.
///
/// What libc runs in parent and child alike, in clone and in posix_spawn, has no description of its stack.
/// But posix_spawn blocks all signals right before, in a call that has one; and who is made by the hook
/// of clone starts in that, with a call of its own.
fn creations(trace: &str) -> Vec<Creation> {
    let (mut unfinished, mut blocks) = (HashMap::new(), HashMap::new());
    let mut firsts: HashMap<&str, Vec<String>> = HashMap::new();
    let mut found = Vec::new();
    let mut lines = trace.lines().peekable();
    while let Some(line) = lines.next() {
        let mut stack = Vec::new();
        while let Some(frame) = lines.next_if(|line| line.starts_with(" > ")) {
            stack.push(frame[3..].to_owned());
        }
        let (pid, rest) = line.split_once(' ').unwrap_or_default();
        let mut call = rest.trim_start().to_owned();
        if let Some(start) = call.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, start.to_owned());
            continue;
        }
        if let Some((_, end)) = call.split_once(" resumed>") {
            call = unfinished.remove(pid).unwrap_or_default() + end;
        }
        firsts.entry(pid).or_insert_with(|| stack.clone());
        let before = blocks.remove(pid);
        if call.starts_with("rt_sigprocmask(SIG_BLOCK, ~[") {
            blocks.insert(pid, stack);
        } else if creates(&call) {
            if call.contains("CLONE_VM|CLONE_VFORK") {
                stack.extend(before.into_iter().flatten());
            }
            found.push(Creation { call, stack });
        }
    }
    for by_clone in found.iter_mut().filter(|c| c.at("clone+")) {
        let child = by_clone.call.rsplit(' ').next().unwrap_or_default();
        by_clone.stack.extend(firsts.get(child).into_iter().flatten().cloned());
    }
    found
}

fn creates(call: &str) -> bool {
    let name = call.split('(').next().unwrap_or_default();
    let result = call.rsplit(" = ").next().unwrap_or_default();
    ["clone", "clone3", "fork", "vfork"].contains(&name)
        && !call.contains("CLONE_THREAD")
        && result.starts_with(|c: char| c.is_ascii_digit())
}
