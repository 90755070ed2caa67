//! How each guard that a keeper starts gets a write end of the pool.
//!
//! As a rule the pool is opened by its path. The pool of another user's make cannot be: the only way is the descriptor
//! that make has handed down to the client, and the keeper has closed that. So the keeper keeps a copy of it, but only
//! as long as its client has a write end, too: a make that counts its tokens waits until the last writer has closed its
//! end, and so it waits for the client anyway.

use crate::hold::inputs;
use crate::ledger::signals::CALL;
use crate::pool::pipe;
use crate::pool::tokens::Pool;
use crate::{proc, sys};

use super::process::{FILE, KEPT};

/// How often the keeper checks that the client still has a write end, in ms.
const CHECK_MILLIS: u32 = 500;

/// How the keeper's guards get a write end.
pub struct Way<'a> {
    pool: &'a Pool,
    client: i32,
    /// The copy; or -1.
    copy: i32,
    timer: i32,
}

impl<'a> Way<'a> {
    /// Called in a keeper of `client`, with the client's write end at [`KEPT`].
    pub fn find(pool: &'a Pool, client: i32) -> Self {
        let opened = pool.open(libc::O_WRONLY);
        opened.into_iter().for_each(sys::close);
        let mut this = Self { pool, client, copy: -1, timer: -1 };
        if opened.is_err() {
            let above = FILE.saturating_add(1);
            this.copy = sys::fcntl(KEPT, libc::F_DUPFD_CLOEXEC, above).unwrap_or(-1);
        }
        if this.copy >= 0 {
            this.timer = sys::start_timer(CALL, CHECK_MILLIS).unwrap_or(-1);
            this.close_if_unused();
        }
        this
    }

    /// Makes sure that the next guard has the pool open as [`KEPT`]. Returns whether it has.
    pub fn open(&self) -> bool {
        if pipe::is(KEPT, self.pool.id) {
            return true;
        }
        if self.copy >= 0 {
            return sys::dup_to(self.copy, KEPT, 0).is_ok();
        }
        self.pool.hand_down(KEPT);
        pipe::is(KEPT, self.pool.id)
    }

    /// Closes the copy if the client has no write end any more. Called at each signal, since the client may have ended.
    pub fn close_if_unused(&mut self) {
        if self.copy < 0 {
            return;
        }
        let (dev, ino, _) = self.pool.id;
        let lives = sys::getppid() == self.client && proc::is_ours();
        if self.timer < 0 || !lives || !inputs::ends_at(self.client, (dev, ino)).1 {
            sys::close(self.copy);
            sys::stop_timer(self.timer);
            self.copy = -1;
        }
    }
}
