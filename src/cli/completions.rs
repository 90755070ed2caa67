//! Completions of shells. clap's have no commands and their arguments, but for zsh.

use clap::Command;
use clap_complete::Shell;

const BASH: &str = include_str!("completions.bash");
const FISH: &str = include_str!("completions.fish");

/// The script that a shell reads.
pub fn script(shell: Shell, command: &mut Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "jsshim", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => script.replacen("_jsshim() {", "_jsshim_words() {", 1) + BASH,
        Shell::Fish => script + FISH,
        _ => script,
    }
}
