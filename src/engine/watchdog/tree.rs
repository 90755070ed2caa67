//! A set of processes, which can be extended by their descendants.

use crate::proc;

/// The most processes in a set.
const MOST: usize = 65_536;
/// Twice as many places, so that searches are short. A power of two.
const PLACES: usize = 2 * MOST;

/// A set of processes. All zeros: empty.
pub struct Tree {
    pids: [i32; MOST],
    used: usize,
    /// The pids, in a hash table with open addressing. 0: unused.
    places: [i32; PLACES],
    /// A process did not fit.
    pub overflown: bool,
}

impl Tree {
    /// Empties the set.
    pub fn clear(&mut self) {
        // Last in, first out: an entry is found while those added before it are still there.
        while let Some(last) = self.used.checked_sub(1) {
            let pid = self.pids.get(last).copied().unwrap_or(0);
            if let Some(place) = self.place(pid) {
                *place = 0;
            }
            self.used = last;
        }
        self.overflown = false;
    }

    /// The place of this process, or the place where it would go. Returns None if there is none.
    fn place(&mut self, pid: i32) -> Option<&mut i32> {
        let at = ways(pid).find(|at| self.places.get(*at).is_some_and(|p| *p == pid || *p == 0))?;
        self.places.get_mut(at)
    }

    /// Adds a process, unless it is in the set.
    pub fn add(&mut self, pid: i32) {
        if pid <= 0 || self.has(pid) {
            return;
        }
        let used = self.used;
        let Some(at) = self.pids.get_mut(used) else {
            self.overflown = true;
            return;
        };
        *at = pid;
        self.used = used.saturating_add(1);
        if let Some(place) = self.place(pid) {
            *place = pid;
        }
    }

    /// Returns whether the process is in the set.
    pub fn has(&self, pid: i32) -> bool {
        let found = ways(pid).filter_map(|at| self.places.get(at)).find(|p| **p == pid || **p == 0);
        pid > 0 && found == Some(&pid)
    }

    /// The processes.
    pub fn all(&self) -> &[i32] {
        self.pids.get(..self.used).unwrap_or(&[])
    }

    /// Adds all descendants of the processes in the set.
    pub fn grow(&mut self) {
        let mut at = 0usize;
        while let Some(pid) = self.all().get(at).copied() {
            if !proc::each_child_of(pid, |child| self.add(child)) {
                return self.grow_by_parents();
            }
            at = at.saturating_add(1);
        }
    }

    /// For kernels without CONFIG_PROC_CHILDREN: reads every process's parent.
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

/// The places at which a process may be, in search order.
fn ways(pid: i32) -> impl Iterator<Item = usize> {
    // Spread by the golden ratio (Knuth, The Art of Computer Programming, 6.4).
    let first = (pid as u32).wrapping_mul(0x9e37_79b1) as usize >> 8;
    (0..PLACES).map(move |step| first.wrapping_add(step) % PLACES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;
    use std::process::{Command, Stdio};

    fn empty() -> Box<Tree> {
        // SAFETY: zeros are an empty tree.
        unsafe { Box::<Tree>::new_zeroed().assume_init() }
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
        assert!((1..=MOST as i32).all(|pid| !tree.has(pid)) && tree.places.iter().all(|p| *p == 0));
    }
}
