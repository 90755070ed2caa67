//! Signals and time.

use core::ffi::c_int;
use std::sync::Arc;

use super::{call, Errno, Result};
use crate::kernel::{self, current, enter, kernel, set_signal, Handler};
use crate::sync::Flag;

#[derive(Clone, Copy)]
pub struct Action(Option<Handler>);

impl Action {
    pub const IGNORE: Self = Self(None);

    pub fn handler(f: Handler) -> Self {
        Self(Some(f))
    }
}

/// # Safety
/// None is needed here; there it is.
pub unsafe fn sigaction(_: c_int, new: &Action) -> Result<Action> {
    enter();
    let sent = || Arc::new(Flag::new(false));
    set_signal(new.0.map(|handler| kernel::Signal { handler, sent: sent() }));
    Ok(Action::IGNORE)
}

/// There is one signal.
pub const fn sigset(_: c_int) -> u64 {
    1
}

pub fn sigmask(how: c_int, set: u64) -> Result<u64> {
    enter();
    let before = kernel::is_blocked();
    match how {
        libc::SIG_BLOCK => kernel::block(before || set & 1 != 0),
        libc::SIG_UNBLOCK => kernel::block(before && set & 1 == 0),
        _ => kernel::block(set & 1 != 0),
    }
    kernel::deliver();
    Ok(before.into())
}

pub fn without_signals<T>(write: impl FnOnce() -> Result<T>) -> Result<T> {
    write()
}

pub fn pending() -> u64 {
    0
}

pub fn discard_pending(_: u64) {}

pub fn start_timer(_: c_int, _: u32) -> Result<c_int> {
    call(|k| {
        let process = k.processes.get_mut(&current()).ok_or(Errno::SRCH)?;
        process.timer = true;
        Ok(0)
    })
}

pub fn stop_timer(_: c_int) {
    kernel(|k| {
        if let Some(process) = k.processes.get_mut(&current()) {
            process.timer = false;
        }
    });
}

pub fn cpu_time() -> u64 {
    now()
}

/// There is one time namespace.
pub fn clock_offset() -> i64 {
    0
}

pub fn set_clock_offset(_: i64) {}

pub fn now() -> u64 {
    kernel(|k| {
        k.clock += 1;
        k.clock
    })
}

pub fn sleep_millis(millis: u32) {
    sleep_micros(millis * 1000);
}

pub fn sleep_micros(micros: u32) {
    call(|k| k.clock += u64::from(micros) * 1000);
    crate::sync::others_go_on();
}

pub fn yield_now() {
    enter();
}

pub fn load_milli() -> u32 {
    call(|k| k.load_milli)
}

/// Nobody waits for a word here: it has changed.
pub fn wait_word(_: &crate::sync::AtomicU32, _: u32, _: u32) -> Result<()> {
    Ok(())
}

/// See [`wait_word`].
pub fn wake_word(_: &crate::sync::AtomicU32) {}

/// See [`wait_word`].
pub fn wake_pid_word(_: &crate::sync::AtomicI32) {}

pub fn wake_one(_: &crate::sync::AtomicU32) {}
