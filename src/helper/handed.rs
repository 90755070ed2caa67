//! The role of a program in the place of another one: the exec of a process that is not preloaded, which the supervisor of
//! `jsshim --all` has changed. Arguments and environment are those of the target. Which target that is, and which job, is
//! in a descriptor that the supervisor has added to the process, behind the one of this program.

use core::ffi::CStr;

use jsshim_engine::hold::handed;
use jsshim_engine::room::PATH_ROOM;
use jsshim_engine::sys;
use jsshim_engine::text::number;

use crate::args::Args;
use crate::hold;

/// How many descriptors are looked at: the supervisor adds the two one after the other.
const NEAR: i32 = 1024;

/// `program`: the number of the descriptor by which this program was started.
pub fn run(args: &Args, program: &[u8]) -> ! {
    let Ok(at) = sys::map(-1, handed::ROOM) else { sys::exit(2) };
    // SAFETY: this mapping, which no one else knows and which is never unmapped.
    let room = unsafe { core::slice::from_raw_parts_mut(at, handed::PATH + PATH_ROOM) };
    let first = number(program).map_or(0, |(fd, _)| fd as i32);
    for fd in first..first.saturating_add(NEAR) {
        if sys::pread(fd, room, 0).is_ok() && room.starts_with(handed::START) {
            sys::close(fd);
            break;
        }
    }
    // SAFETY: the mapping is longer than what was read into it, and zeroed.
    let after = |place: usize| unsafe { CStr::from_ptr(at.wrapping_add(place).cast()) };
    hold::run_as(args, after(handed::WORD), after(handed::PATH), 0)
}
