//! The ends of jobs: jobserver_wait(3) and its kin.

use core::ffi::c_int;

use jsshim_engine::serve::{wait, Host, Masked, Until};
use jsshim_engine::sys::{Errno, Result};

use crate::instance::{answer, count, Instance, Jobserver};

/// Runs a step of an instance, with all signals blocked.
///
/// # Safety
/// As [`Instance::begin`].
unsafe fn call(
    js: *mut Jobserver,
    step: impl FnOnce(&mut Instance, &mut Masked) -> Result<usize>,
) -> c_int {
    let mut masked = Masked::new();
    // SAFETY: by the contract.
    let begun = unsafe { Instance::begin(js, &masked) };
    answer(begun.and_then(|mut instance| {
        let result = step(&mut instance, &mut masked);
        instance.done();
        result.map(count)
    }))
}

/// jobserver_wait(3).
///
/// # Safety
/// `js` must be an instance that the library has filled in.
#[no_mangle]
pub unsafe extern "C" fn jobserver_wait(js: *mut Jobserver, timeout: c_int) -> c_int {
    // SAFETY: by the contract.
    unsafe { call(js, |instance, masked| one_round(instance, masked, timeout)) }
}

fn one_round(instance: &mut Instance, masked: &mut Masked, timeout: c_int) -> Result<usize> {
    wait(instance, masked, Until::millis(timeout)).map_err(|stop| instance.stopped(stop))
}

/// jobserver_collect(3).
///
/// # Safety
/// `js` must be an instance that the library has filled in.
#[no_mangle]
pub unsafe extern "C" fn jobserver_collect(js: *mut Jobserver, timeout: c_int) -> c_int {
    let rounds = |instance: &mut Instance, masked: &mut Masked| loop {
        let before = instance.server().jobs.jobs().len();
        let left = one_round(instance, masked, timeout)?;
        if left == 0 || left >= before {
            return Ok(left);
        }
    };
    // SAFETY: by the contract.
    unsafe { call(js, rounds) }
}

/// jobserver_clear(3).
///
/// # Safety
/// `js` must be an instance that the library has filled in.
#[no_mangle]
pub unsafe extern "C" fn jobserver_clear(js: *mut Jobserver) -> c_int {
    let kill = |instance: &mut Instance, masked: &mut Masked| {
        instance.server().kill_all();
        while let Some((job, status)) = instance.server().await_one() {
            instance.server().put(job.slot);
            masked.outside(|| instance.ended(job.tag, status));
        }
        Ok(0)
    };
    // SAFETY: by the contract.
    unsafe { call(js, kill) }
}

/// jobserver_terminate_job(3).
///
/// # Safety
/// `js` must be an instance that the library has filled in.
#[no_mangle]
pub unsafe extern "C" fn jobserver_terminate_job(
    js: *mut Jobserver,
    pid: libc::pid_t,
    status: c_int,
) -> c_int {
    let terminate = |instance: &mut Instance, masked: &mut Masked| {
        let job = instance.server().collected(pid).ok_or(Errno(libc::ECHILD))?;
        instance.server().put(job.slot);
        masked.outside(|| instance.ended(job.tag, status));
        Ok(0)
    };
    // SAFETY: by the contract.
    unsafe { call(js, terminate) }
}
