//! What the kernel asks, and what is answered. Whatever is not clear goes on.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::program::target::{self, Kind};

use super::caller::{self, Process};
use super::divert::{Diverted, Exec};
use super::jobs::{Got, Jobs};
use super::listener::{Listener, Question};

/// How a process that forks others starts them.
#[derive(Clone, Copy)]
enum Image {
    /// With the library, which gates them.
    Preloaded,
    /// Without it, as jobs of this process, which is it itself or above it.
    Bare(i32),
}

pub struct Supervisor<'a> {
    pub listener: &'a Listener,
    pub helper: &'a OwnedFd,
    pub magic: u64,
    pub jobs: Jobs,
    /// By the parent's pid, which is soon no other process's.
    images: HashMap<i32, (Image, Instant)>,
    /// The process that was diverted last and makes its call again, and how often.
    again: (i32, u32),
}

/// So many parents are remembered.
const MOST: usize = 4096;
/// For so long.
const RECENT: Duration = Duration::from_secs(1);
/// How often a call may come again.
const AGAIN: u32 = 3;

impl<'a> Supervisor<'a> {
    pub fn new(listener: &'a Listener, helper: &'a OwnedFd, magic: u64, jobs: Jobs) -> Self {
        Self { listener, helper, magic, jobs, images: HashMap::new(), again: (0, 0) }
    }

    /// Answers a question.
    pub fn answer(&mut self, question: &Question) {
        if !self.is_diverted(question) {
            self.listener.go_on(question.id);
        }
        self.listener.done();
    }

    /// Returns false if the call goes on as it is.
    fn is_diverted(&mut self, question: &Question) -> bool {
        let pid = question.pid as i32;
        let Some(process) = Process::of(pid) else { return false };
        self.images.remove(&pid);
        if !process.is_fresh {
            return false;
        }
        let at = question.data.instruction_pointer;
        let Some(client) = self.client(process, at) else { return false };
        let got = match self.jobs.find(pid) {
            Some((job, state)) => self.jobs.resume(job, state, client),
            None => {
                let program = self.jobs.is_traced().then(|| path_of(question)).flatten();
                self.jobs.begin(pid, client, program)
            }
        };
        match got {
            Got::Runs => false,
            Got::Held(job) => self.hold(question, process, job),
        }
    }

    /// The process whose job this new one is; `None` if the library sees to it.
    fn client(&mut self, process: Process, at: u64) -> Option<i32> {
        let parent = process.parent;
        if parent <= 1 {
            return None;
        }
        if self.images.len() > MOST {
            self.images.clear();
        }
        let image = match self.images.get(&parent) {
            Some((image, since)) if since.elapsed() < RECENT => *image,
            _ => {
                let image = match caller::is_preloaded(process.pid, at)? {
                    true => Image::Preloaded,
                    false => Image::Bare(process.client()?),
                };
                self.images.insert(parent, (image, Instant::now()));
                image
            }
        };
        match image {
            Image::Preloaded => None,
            Image::Bare(client) => Some(client),
        }
    }

    fn hold(&mut self, question: &Question, process: Process, job: Handle) -> bool {
        let pid = process.pid;
        let asked = path_of(question);
        let length = asked.as_ref().map_or(0, |path| path.as_bytes().len());
        let Some(path) = asked.and_then(|path| caller::itself(pid, path)) else {
            self.jobs.overdraw(job);
            return false;
        };
        let target = caller::from_here(pid, &path);
        match target.map(|target| target::foretell(&target)) {
            Some(Ok(Kind::Dynamic | Kind::Static | Kind::Foreign)) => {}
            // It fails by itself: no job.
            Some(Err(_) | Ok(Kind::Text)) => {
                self.jobs.end(job);
                return false;
            }
            _ => {
                self.jobs.overdraw(job);
                return false;
            }
        }
        let can = self.jobs.shares_files(pid)
            && !caller::share_descriptors(pid, process.parent)
            && !self.comes_again(pid);
        if !can {
            self.jobs.overdraw(job);
            return false;
        }
        if !self.jobs.hold(job) {
            return false;
        }
        let word = self.jobs.word(job);
        let (helper, magic) = (self.helper, self.magic);
        let exec = Exec { question, length, path: &path, word: &word, helper, magic };
        match exec.divert(self.listener) {
            Diverted::Yes | Diverted::Again => true,
            Diverted::No => {
                self.jobs.overdraw(job);
                false
            }
        }
    }

    /// Does this process ask too often for what cannot be changed?
    fn comes_again(&mut self, pid: i32) -> bool {
        let (last, count) = self.again;
        self.again = (pid, if last == pid { count + 1 } else { 1 });
        self.again.1 > AGAIN
    }
}

/// The path that is asked for, if it is one that can be asked for again.
fn path_of(question: &Question) -> Option<CString> {
    let [first, second, _, _, flags, _] = question.data.args;
    let at = match i64::from(question.data.nr) {
        libc::SYS_execve => first,
        libc::SYS_execveat if first as i32 == libc::AT_FDCWD && flags == 0 => second,
        _ => return None,
    };
    caller::path_at(question.pid as i32, at).filter(|path| !path.is_empty())
}
