//! How soon the guard must check again.

/// How soon the guard must check again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// No job waits that may start.
    Rest,
    /// A job is held.
    Soon,
    /// A job is parked: it had work to do.
    Hurry,
}
