//! The file in memory by which the supervisor of `jsshim --all` tells the helper what it holds: the helper's arguments are
//! those of the target, so that they have no room for it.

use crate::text::PATH_ROOM;

/// What it starts with.
pub const START: &[u8] = b"jsshim-handed\n";

/// Where the word about the job is ([`super::spec`]), ended by a NUL.
pub const WORD: usize = 16;

/// Where the target's path is, ended by a NUL.
pub const PATH: usize = 512;

/// Room for all of it, and zeros behind.
pub const ROOM: usize = 2 * PATH_ROOM;
