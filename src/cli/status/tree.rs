//! The processes of this machine, as /proc shows them.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use jsshim_engine::program::target;
use jsshim_engine::{clock, proc, sys};

use super::model::{Escaped, Process};
use crate::program;

/// A process that is younger may not have loaded its libraries yet.
const SETTLED_SECONDS: f64 = 1.0;

/// All processes and their parents; empty for a ledger of another PID namespace, or where /proc shows another one.
#[derive(Default)]
pub struct Tree(HashMap<i32, proc::Stat>);

impl Tree {
    /// As it is now.
    pub fn read() -> Self {
        clock::settle();
        if !proc::is_ours() {
            return Self::default();
        }
        let names = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = names.filter_map(|e| e.file_name().to_str()?.parse().ok());
        Self(pids.filter_map(|pid| Some((pid, proc::stat(pid)?))).collect())
    }

    /// Is there a process of this pid?
    pub fn has(&self, pid: i32) -> bool {
        self.0.contains_key(&pid)
    }

    /// The process of this pid, if it was there at this time ([`sys::now`]): a pid is used again, by threads of the
    /// kernel, too.
    pub fn since(&self, pid: i32, nanos: u64) -> Process {
        match self.0.get(&pid) {
            Some(stat) if stat.start_nanos() <= nanos => self.process(pid),
            _ => Process { pid, program: String::new() },
        }
    }

    /// The process of this pid.
    pub fn process(&self, pid: i32) -> Process {
        if self.0.get(&pid).is_none_or(proc::Stat::is_kernel_thread) {
            return Process { pid, program: String::new() };
        }
        let comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        Process { pid, program: String::from_utf8_lossy(comm.trim_ascii()).into() }
    }

    /// The command line of a job, and its program; of a held one, what it will be.
    pub fn command(&self, pid: i32) -> (Vec<String>, String) {
        if !self.has(pid) {
            return (Vec::new(), String::new());
        }
        let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let text = text.strip_suffix(b"\0").unwrap_or(&text);
        let mut words: Vec<_> =
            text.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        if words.first().is_some_and(|w| w == "jsshim-helper") && words.len() > 2 {
            let target = words[2].clone();
            words.drain(..3);
            return (words, target);
        }
        let program = words.first().cloned().unwrap_or_default();
        (words, program)
    }

    /// A process, its parent, its parent, and so on.
    pub fn line(&self, pid: i32) -> impl Iterator<Item = i32> + '_ {
        let parent = |pid: &i32| self.0.get(pid).map(|stat| stat.parent).filter(|p| *p > 1);
        std::iter::successors(Some(pid), parent).take(256)
    }

    /// Those at or below `members`.
    pub fn below(&self, members: &HashSet<i32>) -> Vec<i32> {
        let is_in = |pid: &i32| self.line(*pid).any(|p| members.contains(&p));
        let mut below: Vec<_> = self.0.keys().copied().filter(is_in).collect();
        below.sort_unstable();
        below
    }

    /// Of these, those that the library is not in, or cannot gate.
    pub fn escaped(&self, pids: &[i32]) -> Vec<Escaped> {
        let escaped = pids.iter().filter_map(|pid| {
            let why = self.why_escaped(*pid)?;
            Some(Escaped { pid: *pid, program: self.process(*pid).program, why })
        });
        escaped.collect()
    }

    fn why_escaped(&self, pid: i32) -> Option<String> {
        let stat = self.0.get(&pid).filter(|s| !matches!(s.state, b'Z' | b'X'))?;
        let link = format!("/proc/{pid}/exe");
        let exe = match fs::read_link(&link) {
            Ok(exe) => exe,
            // It has no program where it has ended meanwhile.
            Err(e) if e.kind() != ErrorKind::PermissionDenied => return None,
            Err(_) => {
                let is_there = proc::stat(pid).is_some_and(|now| {
                    now.start == stat.start && !matches!(now.state, b'Z' | b'X')
                });
                return is_there.then(|| "belongs to another user, or is setuid".to_owned());
            }
        };
        if exe.file_name().is_some_and(|n| n == "jsshim-helper" || n == "jsshim") {
            return None;
        }
        let file = CString::new(link.clone()).ok()?;
        if let Some(why) = target::foretell(&file)
            .ok()
            .and_then(|kind| program::out_of_reach(Path::new(&link), kind))
        {
            return Some(why.to_owned());
        }
        let maps = fs::read(format!("/proc/{pid}/maps")).ok().filter(|maps| !maps.is_empty())?;
        let loaded = maps.windows(10).any(|part| part == b"libjsshim.");
        (!loaded && age(stat) > SETTLED_SECONDS).then(|| "has not loaded the library".to_owned())
    }
}

/// Memory of these processes that is in use by nobody else, in bytes.
pub fn memory(pids: &[i32]) -> u64 {
    // proc(5), statm: size, resident, and what of that is shared, in pages.
    let pages = |pid: &i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let mut fields = text.split(' ').skip(1).map(|word| word.parse::<u64>());
        let (resident, shared) = (fields.next()?.ok()?, fields.next()?.ok()?);
        Some(resident.saturating_sub(shared))
    };
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    let size = size.and_then(|size| u64::try_from(size).ok()).unwrap_or(4096);
    pids.iter().filter_map(pages).sum::<u64>().saturating_mul(size)
}

/// For how long a process has been running, in seconds.
fn age(stat: &proc::Stat) -> f64 {
    sys::now().saturating_sub(stat.start_nanos()) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_that_is_used_again_names_nobody() {
        let (tree, me) = (Tree::read(), std::process::id() as i32);
        assert!(!tree.since(me, sys::now()).program.is_empty());
        assert_eq!(tree.since(me, 0).program, "", "it is younger");
    }
}
