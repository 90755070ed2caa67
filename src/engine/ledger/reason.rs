//! Why a job runs without a slot.

/// Why a job runs without a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Reason {
    /// It does not run without a slot.
    None = 0,
    /// It reads from a pipe that a running sibling writes: a pipeline is one job.
    Partner = 1,
    /// The pool has gone: its last writer closed it.
    PoolGone = 2,
    /// It could not be held (no helper, a target that cannot be foretold).
    Unheld = 3,
    /// A signal handler of the host jumped out of the wait.
    Left = 4,
    /// All running jobs of its client wait for other processes of the tree, perhaps for this one.
    Stall = 5,
}

impl Reason {
    pub(crate) const ALL: [Self; 6] =
        [Self::None, Self::Partner, Self::PoolGone, Self::Unheld, Self::Left, Self::Stall];

    /// The reason in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::None => "nobody knows why",
            Self::Partner => "reads what a running job writes",
            Self::PoolGone => "the pool is gone",
            Self::Unheld => "it cannot be held",
            Self::Left => "a signal handler left its wait",
            Self::Stall => "the running jobs wait for others",
        }
    }
}
