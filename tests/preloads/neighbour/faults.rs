//! The fault injector: the functions behind the library fail, as they do where a system is short of processes or
//! memory, or where a sandbox refuses them.
//!
//! It sees the calls that go through libc. Those that the library and its helper make of the kernel by themselves no
//! preloaded library can see: `tests/c/inject.c` lets these fail, by a filter of the kernel.

use std::ffi::{c_int, CStr};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::OnceLock;

struct Fault {
    /// With commas between them.
    functions: String,
    errno: c_int,
    /// At which call; 0: at each.
    time: u32,
}

/// Read once, by the constructor: what a host does to its environment afterwards changes nothing.
static FAULT: OnceLock<Option<Fault>> = OnceLock::new();

pub fn read() {
    FAULT.get_or_init(|| {
        // SAFETY: a C string; the value is copied at once.
        let value = unsafe { libc::getenv(c"JSSHIM_TEST_FAULT".as_ptr()) };
        if value.is_null() {
            return None;
        }
        // SAFETY: a C string of the environment.
        let value = unsafe { CStr::from_ptr(value) }.to_str().ok()?;
        let mut words = value.split(':');
        let functions = words.next()?.to_owned();
        Some(Fault {
            functions,
            errno: words.next()?.parse().ok()?,
            time: words.next()?.parse().ok()?,
        })
    });
}

/// Is this call to fail?
pub fn due(function: &str) -> Option<c_int> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let fault = FAULT.get()?.as_ref()?;
    if !fault.functions.split(',').any(|name| name == function) {
        return None;
    }
    let call = CALLS.fetch_add(1, Relaxed) + 1;
    (fault.time == 0 || fault.time == call).then_some(fault.errno)
}
