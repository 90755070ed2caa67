//! How soon the guard has to look again.

/// How soon the guard has to look again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// No job waits that may start.
    Rest,
    /// One is held.
    Soon,
    /// One has woken up, and waits to come back: it was at work.
    Hurry,
}
