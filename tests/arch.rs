//! The assembly: that of the sources, put together with C that calls it (arch/check.c) and, for the
//! other architecture, run by an emulator, since its Rust cannot be compiled everywhere; and that of
//! the built library, with lists of every length (c/lists.c).

use std::fs;
use std::process::Command;

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, base, compiled_with, on_path, output, script, source};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        aarch64_functions,
        aarch64_entry_point,
        x86_64_functions,
        x86_64_entry_point,
        lists_of_every_length,
        lists_of_every_length_held,
    ]
}

/// An architecture and the tools for it.
struct Arch {
    name: &'static str,
    compiler: &'static str,
    /// Runs a program of it; empty if this machine does.
    emulator: &'static str,
    /// Before Rust's assembly; Rust has Intel's syntax on x86.
    before: &'static str,
    after: &'static str,
    /// `SA_RESTORER`.
    restorer: &'static str,
    flags: &'static [&'static str],
}

const AARCH64: Arch = Arch {
    name: "aarch64",
    compiler: "aarch64-linux-gnu-gcc",
    emulator: "qemu-aarch64-static",
    before: "",
    after: "",
    restorer: "-DRESTORER=0",
    flags: &["-DEMULATED"],
};

/// Here to show that the check itself is right.
const X86_64: Arch = Arch {
    name: "x86_64",
    compiler: "cc",
    emulator: "",
    before: ".intel_syntax noprefix\n",
    after: ".att_syntax prefix\n",
    restorer: "-DRESTORER=0x04000000",
    flags: &["-no-pie"],
};

/// An `asm!` or `naked_asm!` of a source: its lines of assembly, and what follows them.
struct Asm {
    lines: Vec<String>,
    operands: String,
}

/// Reads the first one after `mark`.
fn asm_after(text: &str, mark: &str) -> Asm {
    let at = text.find(mark).unwrap_or_else(|| panic!("no {mark} in the source"));
    let at = at + text[at..].find("asm!(").unwrap_or_else(|| panic!("no assembly after {mark}"));
    let mut rest = text[at..].split_once('(').expect("found above").1;
    let mut lines = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').expect("the source goes on").1;
        } else if let Some(line) = rest.strip_prefix('"') {
            let (line, after) = line.split_once('"').expect("strings end");
            lines.push(line.to_owned());
            rest = after.trim_start_matches(',');
        } else {
            break;
        }
    }
    let operands = rest.split(";\n").next().unwrap_or_default();
    Asm { lines, operands: operands.to_owned() }
}

impl Asm {
    /// A function of this name, with `{name}` replaced by what `symbols` says.
    fn function(&self, name: &str, symbols: &[(&str, &str)]) -> String {
        let mut text = format!(".globl {name}\n.type {name}, %function\n{name}:\n");
        for line in &self.lines {
            text += &format!("\t{line}\n");
        }
        for (from, to) in symbols {
            text = text.replace(&format!("{{{from}}}"), to);
        }
        assert!(!text.contains('{'), "a name is left: {text}");
        text
    }

    /// Register and name of each operand that goes in.
    fn inputs(&self) -> Vec<(String, String)> {
        let operands = self.operands.replace("inlateout(", "in(");
        let parts = operands.split("in(\"").skip(1).filter_map(|part| part.split_once("\") "));
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric()).collect();
        parts.map(|(register, rest)| (register.to_owned(), word(rest))).collect()
    }
}

fn read(path: &str) -> String {
    let path = source().join("../src").join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Arch {
    /// The naked functions of the shim and the engine.
    fn assembly(&self) -> String {
        let shim = read(&format!("shim/doors/asm_{}.rs", self.name));
        let engine = read(&format!("engine/sys/{}.rs", self.name));
        let [vfork, fork, execl] = ["vfork", "fork", "execl"]
            .map(|name| asm_after(&shim, &format!("macro_rules! {name} ")));
        let mut text = self.before.to_owned();
        for name in ["vfork", "__vfork"] {
            let symbols = [("before", "vfork_before"), ("after", "vfork_after")];
            text += &vfork.function(&format!("naked_{name}"), &symbols);
        }
        for (name, to) in invoked(&shim, "fork") {
            text += &fork.function(&format!("naked_{name}"), &[("to", &to)]);
        }
        for (name, to) in invoked(&shim, "execl") {
            text += &execl.function(&format!("naked_{name}"), &[("to", &to)]);
        }
        for (name, mark) in [("clone_vm", "fn clone_vm"), ("restorer", "fn restorer")] {
            text += &asm_after(&engine, mark).function(&format!("naked_{name}"), &[]);
        }
        text + self.after + ".section .note.GNU-stack,\"\",%progbits\n"
    }

    /// The two that are compiled into Rust functions, as such functions of C.
    fn inline(&self) -> String {
        let engine = read(&format!("engine/sys/{}.rs", self.name));
        let shim = read("shim/host/thread.rs");
        let call = asm_after(&engine, "fn syscall6");
        let mut text =
            "#include <stddef.h>\nlong naked_syscall6(long n, const size_t *a)\n{\n".to_owned();
        let mut uses = String::new();
        let mut answer = String::new();
        let inputs = call.inputs();
        assert_eq!(inputs.len(), 7, "{inputs:?}");
        for (register, name) in inputs {
            let value = match name.strip_prefix('a') {
                Some(index) => format!("a[{index}]"),
                None => name.to_owned(),
            };
            text += &format!("\tregister long r_{name} __asm__(\"{register}\") = {value};\n");
            if call.operands.contains(&format!("inlateout(\"{register}\")")) {
                answer = format!("r_{name}");
            } else {
                uses += &format!("{}\"r\"(r_{name})", if uses.is_empty() { "" } else { ", " });
            }
        }
        let lines = call.lines.join("\\n");
        let lost =
            if self.name == "x86_64" { "\"rcx\", \"r11\", \"memory\"" } else { "\"memory\"" };
        text += &format!("\t__asm__ volatile(\"{lines}\" : \"+r\"({answer}) : {uses} : {lost});\n");
        text += &format!("\treturn {answer};\n}}\n");
        let ours = format!("#[cfg(target_arch = \"{}\")]", self.name);
        let shim = shim.split(&ours).nth(1).expect("a thread pointer");
        let pointer = asm_after(shim, "fn thread_pointer").lines.join("\\n").replace("{}", "%0");
        let syntax = |s: &str| s.replace('\n', "\\n");
        let (before, after) = (syntax(self.before), syntax(self.after));
        // Intel's syntax names registers without a sign.
        let operand = if self.before.is_empty() { "%0".to_owned() } else { "%q0".to_owned() };
        let pointer = pointer.replace("%0", if before.is_empty() { &operand } else { "rax" });
        let to = if before.is_empty() { "=r" } else { "=a" };
        text + &format!(
            "size_t naked_thread_pointer(void)\n{{\n\tsize_t tp;\n\
             \t__asm__ volatile(\"{before}{pointer}\\n{after}\" : \"{to}\"(tp));\n\treturn tp;\n}}\n"
        )
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = base().join(format!("{}-{name}", self.name));
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn build(&self, name: &str, flags: &[&str], files: &[&str]) -> String {
        let program = base().join(format!("{}-{name}", self.name));
        let program = program.to_str().unwrap().to_owned();
        let strict = ["-O1", "-static", "-pthread", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"];
        let args = [&strict[..], self.flags, flags, &["-o", &program], files].concat();
        output(&on_path(self.compiler), &args);
        program
    }

    /// Never for long: wrong assembly may as well loop.
    fn run(&self, program: &str, args: &[&str]) -> std::process::Output {
        let mut command = Command::new(on_path("timeout"));
        command.args(["-s", "KILL", "60"]);
        if !self.emulator.is_empty() {
            command.arg(on_path(self.emulator));
        }
        command.arg(program).args(args).env_clear().env("A", "1").output().unwrap()
    }

    fn functions(&self) {
        let assembly = self.write("naked.S", &self.assembly());
        let inline = self.write("inline.c", &self.inline());
        let check = script("arch/check.c");
        let files = [check.as_str(), &assembly, &inline];
        let program = self.build("check", &["-g", self.restorer], &files);
        let out = self.run(&program, &[]);
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && said == "done\n", "{:?}\n{said}", out);
    }

    fn entry_point(&self) {
        let helper = read("helper/start.rs");
        let mark = format!("#[cfg(target_arch = \"{}\")]", self.name);
        let start = asm_after(&helper, &mark).function("_start", &[("begin", "begin")]);
        let text = format!(
            "{}{start}{}.section .note.GNU-stack,\"\",%progbits\n",
            self.before, self.after
        );
        let assembly = self.write("start.S", &text);
        let files = [script("arch/start.c"), assembly];
        let flags =
            ["-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-omit-frame-pointer"];
        let program = self.build("start", &flags, &[&files[0], &files[1]]);
        let out = self.run(&program, &["one", "two"]);
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        let out = self.run(&program, &["one", "three"]);
        assert_eq!(out.status.code(), Some(1), "the check sees arguments: {out:?}");
    }
}

/// The names that a macro is invoked with: `NAME!(function, target);`.
fn invoked(text: &str, name: &str) -> Vec<(String, String)> {
    let start = format!("{name}!(");
    let calls = text.lines().filter_map(|line| line.strip_prefix(&start)?.strip_suffix(");"));
    let pairs = calls.filter_map(|call| call.split_once(", "));
    let pairs: Vec<_> = pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    assert_eq!(pairs.len(), 3, "invocations of {name}!");
    pairs
}

fn aarch64_functions() {
    AARCH64.functions();
}

fn aarch64_entry_point() {
    AARCH64.entry_point();
}

fn x86_64_functions() {
    if cfg!(target_arch = "x86_64") {
        X86_64.functions();
    }
}

fn x86_64_entry_point() {
    if cfg!(target_arch = "x86_64") {
        X86_64.entry_point();
    }
}

/// The rows of c/lists.c.
const ROWS: usize = (21 + 21 + 20) * 2;

/// execl, execlp and execle with 0 to 20 arguments, each after fork and after vfork. While `occupy`
/// milliseconds are given to another child, ours has no slot.
fn lists(occupy: &str, slots: usize) -> Run {
    let headers = format!("-I{}", script("arch"));
    Run::new(&[&compiled_with("lists", "lists", &[&headers]), occupy])
        .pool(Kind::NonBlocking, slots)
        .any_peak()
        .check(|o| assert!(o.status.success()))
        .check(|o| assert_eq!(o.text().matches(", right\n").count(), ROWS))
}

fn lists_of_every_length() {
    lists("0", 4).both();
    lists("20", 4).both();
}

fn lists_of_every_length_held() {
    let held = || lists("20", 1).env("JSSHIM_GATE", "child");
    held().both();
    if artifact("libjsshim.so").is_some() {
        let check = |o: &Outcome| assert!(o.stderr.matches("holds a job").count() >= ROWS - 10);
        held().env("JSSHIM_DEBUG", "1").check(check).once();
    }
}
