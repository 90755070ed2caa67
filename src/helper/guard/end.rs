//! Whether the build has ended.

use jsshim_engine::join::holders;
use jsshim_engine::pool::pipe::{maker, Id};
use jsshim_engine::program::speaker;
use jsshim_engine::text::Path;
use jsshim_engine::{proc, sys};

use super::detach::SCARCE;

/// What is known about the end of the build.
pub(super) struct End {
    /// When to check next.
    pub(super) due: u64,
    /// Since when the build seems to have ended; 0: it does not.
    pub(super) since: u64,
    /// The pid of the make that made the pool; 0: not known. None: not looked for yet.
    pub(super) make: Option<i32>,
    /// A pidfd of that make while it lives; or -1.
    pub(super) fd: i32,
    /// It has ended: its pid may belong to another process by now.
    gone: bool,
    /// How many slots the pool must have; 0: as many as it has.
    pub(super) wanted: u32,
}

impl End {
    pub(super) const fn new() -> Self {
        Self { due: 0, since: 0, make: None, fd: -1, gone: false, wanted: 0 }
    }

    /// A descriptor that is readable when make ends; or -1.
    pub(super) const fn wakes(&self) -> i32 {
        self.fd
    }

    /// Notes that the descriptor has been closed.
    pub(super) const fn forget(&mut self) {
        self.fd = -1;
    }

    /// Finds make while it lives, starting from the process by whose descriptor the pool was found: that may be a shell
    /// below make.
    pub(super) fn find(&mut self, path: &Path, id: Id) {
        let is_it =
            |pid: &i32| holders::holds_anywhere(*pid, id).is_some() && speaker::file_speaks(*pid);
        let make = proc::line_of(maker(path)).filter(is_it).last().unwrap_or(0);
        self.make = Some(make);
        if make > 0 && sys::open_files_limit() >= SCARCE {
            self.fd = sys::pidfd_open(make).unwrap_or(-1);
        }
    }

    pub(super) fn has_ended(&mut self, make: i32) -> bool {
        if self.fd >= 0 && proc::has_ended_by(self.fd, make) {
            // It stays readable: no poll would sleep.
            sys::close(self.fd);
            (self.fd, self.gone) = (-1, true);
        }
        self.gone || self.fd < 0 && !proc::lives(make)
    }
}
