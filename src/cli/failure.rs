//! Why the command was not run.

/// See the module.
pub struct Failure {
    /// For the user.
    pub message: String,
    /// The exit status that tells of it.
    pub status: i32,
}

/// What can fail so.
pub type Result<T> = std::result::Result<T, Failure>;

/// A [`Failure`].
pub fn failure(status: i32, message: impl Into<String>) -> Failure {
    Failure { message: message.into(), status }
}
