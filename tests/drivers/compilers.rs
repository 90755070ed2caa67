//! Compilers and linkers. The assembler is a script that runs a counted job before it becomes the
//! real one.

use super::{recipe, script, Row};
use crate::harness::Run;

pub const ROWS: &[Row] = &[
    ("gcc", |_| assembled("gcc -Bbin/")),
    ("gcc_save_temps", |_| assembled("gcc -Bbin/ -save-temps=obj")),
    ("gcc_pipe", |_| assembled("gcc -Bbin/ -pipe")),
    ("gcc_on_one_command_line", |_| compiler("gcc -Bbin/ -c ?.c; exec ls *.o").any_peak()),
    ("collect2", |_| linked("gcc")),
    ("mold", |_| linked("gcc -fuse-ld=mold")),
    ("clang", |_| assembled("clang -Bbin/ -fno-integrated-as")),
    ("clang_on_one_command_line", |_| {
        compiler("clang -Bbin/ -fno-integrated-as -c ?.c; exec ls *.o").any_peak()
    }),
    ("ccache", |_| assembled("ccache gcc -Bbin/").env("CCACHE_DIR", "cache")),
    ("distcc", |_| {
        assembled("mkdir -p cache; DISTCC_DIR=$PWD/cache distcc gcc -Bbin/")
            .env("DISTCC_HOSTS", "localhost/8")
    }),
    ("rustc", |_| {
        let command = "${CARGO%cargo}rustc --crate-name x$i --crate-type rlib";
        let text = format!("{{ echo 'pub fn x() {{}}' | {command} -o x$i -; sh j $i; }} &");
        script(&format!("for i in 1 2 3 4 5 6 7 8; do {text} done; wait; exec ls x?"))
            .env("CARGO", env!("CARGO"))
            .may_idle()
    }),
    ("cargo", |_| cargo()),
];

pub const BELOW_MAKE: &[Row] = &[("gcc_lto", |kind| {
    let link = "gcc -Bbin/ -O1 -flto=8 -flto-partition=max -shared -fPIC -o x ?.c";
    with_sources(recipe(kind, &format!("chmod +x bin/*; {link}; echo $?; exec nm -g x")))
})];

fn compiler(text: &str) -> Run {
    with_sources(script(&format!("chmod +x bin/*; {text}")))
}

/// Their text for the assembler is more than a pipe holds.
fn with_sources(run: Run) -> Run {
    let numbers: String = (1..10_000).map(|n| format!("{n},")).collect();
    let add =
        |run: Run, i: u32| run.file(&format!("{i}.c"), &format!("int x{i}[] = {{ {numbers} }};\n"));
    (1..=8).fold(run, add).file("bin/as", "#!/bin/sh\nsh j as 0 0 100\nexec as \"$@\"\n")
}

fn assembled(command: &str) -> Run {
    let text = format!("for i in 1 2 3 4 5 6 7 8; do {command} -c $i.c -o $i.o & done");
    compiler(&format!("{text}; wait; exec cksum ?.o")).may_idle()
}

/// The linker is a child of collect2, which is a child of the driver.
fn linked(command: &str) -> Run {
    let link = format!("echo 'int main() {{ return 0; }}' | {command} -xc -o x$i -");
    let text = format!("for i in 1 2 3 4 5 6 7 8; do {{ {link} && ./x$i && sh j $i; }} & done");
    compiler(&format!("{text}; wait; exec ls x?")).may_idle()
}

/// Of eight packages; it knows the pool.
fn cargo() -> Run {
    let wrapper = "#!/bin/sh\ncase $* in *crate-name\\ p*) sh \"$TOP/j\" p 0;; esac; exec \"$@\"\n";
    let text = "chmod +x w; export PATH=${CARGO%/*}:$PATH TOP=$PWD RUSTC_WRAPPER=$PWD/w
        exec $CARGO build -q --offline";
    let run = script(text)
        .env("CARGO", env!("CARGO"))
        .file("w", wrapper)
        .file("Cargo.toml", "[workspace]\nresolver = \"2\"\nmembers = [\"p*\"]\n");
    let add = |run: Run, i: u32| {
        let text = format!("[package]\nname = \"p{i}\"\nversion = \"1.0.0\"\nedition = \"2021\"\n");
        run.file(&format!("p{i}/Cargo.toml"), &text).file(&format!("p{i}/src/lib.rs"), "")
    };
    (1..=8).fold(run, add).any_peak()
}
