//! Processes and all below them.

use crate::proc;
use crate::text::number;

/// The most processes that are looked at.
const MOST: usize = 1024;

/// A set of processes. All zeros is an empty one.
pub struct Tree {
    pids: [i32; MOST],
    used: usize,
    /// There was no room for one.
    pub overflown: bool,
}

impl Tree {
    /// Makes it empty.
    pub fn clear(&mut self) {
        (self.used, self.overflown) = (0, false);
    }

    /// Adds a process, if it is new.
    pub fn add(&mut self, pid: i32) {
        if pid <= 0 || self.has(pid) {
            return;
        }
        match self.pids.get_mut(self.used) {
            Some(at) => {
                *at = pid;
                self.used = self.used.saturating_add(1);
            }
            None => self.overflown = true,
        }
    }

    /// Is it in the set?
    pub fn has(&self, pid: i32) -> bool {
        self.all().contains(&pid)
    }

    /// The processes.
    pub fn all(&self) -> &[i32] {
        self.pids.get(..self.used).unwrap_or(&[])
    }

    /// Adds the children of all that are in it, theirs, and so on.
    pub fn grow(&mut self) {
        let mut at = 0usize;
        while let Some(pid) = self.all().get(at).copied() {
            if !each_child(pid, |child| self.add(child)) {
                return self.grow_by_parents();
            }
            at = at.saturating_add(1);
        }
    }

    /// For kernels without CONFIG_PROC_CHILDREN: asks every process for its parent.
    fn grow_by_parents(&mut self) {
        loop {
            let before = self.used;
            proc::each_process(|pid| {
                if !self.has(pid) && proc::stat(pid).is_some_and(|s| self.has(s.parent)) {
                    self.add(pid);
                }
            });
            if self.used == before || self.overflown {
                return;
            }
        }
    }
}

/// Calls `f` with each child of a process. `false`: the kernel does not tell.
pub fn each_child(pid: i32, mut f: impl FnMut(i32)) -> bool {
    let tasks = proc::of(pid).with(b"/task");
    let mut told = true;
    proc::each_number(&tasks, |tid, _| {
        let children = tasks.with(b"/").num(tid).with(b"/children");
        let read = proc::each_part::<16>(&children, b' ', |word| {
            f(number(word).map_or(0, |(child, _)| child as i32));
        });
        // A thread that has just ended has none.
        told &= read || proc::stat_at(&tasks.with(b"/").num(tid)).is_none();
    });
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;
    use std::process::{Command, Stdio};

    fn empty() -> Box<Tree> {
        Box::new(Tree { pids: [0; MOST], used: 0, overflown: false })
    }

    #[test]
    fn grandchildren_are_found_either_way() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "/bin/sh -c 'echo $$; read x; :'; :"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(child.stdout.as_mut().unwrap()),
            &mut line,
        )
        .unwrap();
        let grandchild: i32 = line.trim().parse().unwrap();
        for grow in [Tree::grow, Tree::grow_by_parents] {
            let mut tree = empty();
            tree.add(sys::getpid());
            grow(&mut tree);
            assert!(tree.has(child.id() as i32) && tree.has(grandchild), "{:?}", tree.all());
        }
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_full_one_says_so() {
        let mut tree = empty();
        (1..=MOST as i32).for_each(|pid| tree.add(pid));
        tree.add(7);
        assert!(!tree.overflown);
        tree.add(MOST as i32 + 1);
        assert!(tree.overflown);
        tree.clear();
        assert!(tree.all().is_empty() && !tree.overflown);
    }
}
