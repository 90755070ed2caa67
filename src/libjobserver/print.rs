//! jobserver_print(3).

use core::ffi::{c_char, c_int, CStr};

use jsshim_engine::serve::Slot;

use crate::instance::Jobserver;

/// Adds up what fprintf(3) gives: characters, or a negative number after which nothing more is written.
struct Printed {
    stream: *mut libc::FILE,
    sum: c_int,
}

impl Printed {
    fn text(&mut self, text: *const c_char) {
        if !text.is_null() {
            // SAFETY: C strings.
            self.add(|stream| unsafe { libc::fprintf(stream, c"%s".as_ptr(), text) });
        }
    }

    fn number(&mut self, name: &CStr, number: impl Into<i64>) {
        let (name, number) = (name.as_ptr(), number.into());
        // SAFETY: the format has these two.
        self.add(|stream| unsafe { libc::fprintf(stream, c"%s: %lld".as_ptr(), name, number) });
    }

    fn pointer(&mut self, name: &CStr, pointer: usize) {
        // SAFETY: the format has these two.
        self.add(|stream| unsafe {
            libc::fprintf(stream, c"%s: %p".as_ptr(), name.as_ptr(), pointer)
        });
    }

    fn token(&mut self, slot: Slot) {
        let token = match slot {
            Slot::Token(byte) => byte,
            Slot::Implicit => b'-',
        };
        // SAFETY: the format has this one.
        self.add(|stream| unsafe {
            libc::fprintf(stream, c"token: '%c'".as_ptr(), c_int::from(token))
        });
    }

    fn add(&mut self, print: impl FnOnce(*mut libc::FILE) -> c_int) {
        if self.sum >= 0 {
            let n = print(self.stream);
            self.sum = if n < 0 { n } else { self.sum.saturating_add(n) };
        }
    }
}

/// jobserver_print(3).
///
/// # Safety
/// A stream, an instance that the library has filled in, and C strings.
#[no_mangle]
pub unsafe extern "C" fn jobserver_print(
    stream: *mut libc::FILE,
    js: *const Jobserver,
    separator: *const c_char,
    job_separator: *const c_char,
    inter_job_separator: *const c_char,
) -> c_int {
    // SAFETY: by the contract.
    let js = unsafe { &*js };
    let mut out = Printed { stream, sum: 0 };
    let size = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let [_, token] = js.poll;
    let lines: [(&CStr, i64); 9] = [
        (c"dry run", i64::from(js.dry_run != 0)),
        (c"debug", i64::from(js.debug != 0)),
        (c"keep-going", i64::from(js.keep_going != 0)),
        (c"stopped", js.stopped.into()),
        (c"read", token.fd.into()),
        (c"write", js.write.into()),
        (c"size", size(js.size)),
        (c"has-free-token", js.has_free_token.into()),
        (c"jobs", size(js.current_jobs)),
    ];
    for (i, (name, number)) in lines.into_iter().enumerate() {
        if i > 0 {
            out.text(separator);
        }
        out.number(name, number);
    }
    // SAFETY: null, or what lies behind the instance.
    let inner = unsafe { js.jobs.as_ref() };
    for job in inner.map_or(&[][..], |inner| inner.server.jobs.jobs()) {
        out.text(inter_job_separator);
        out.token(job.slot);
        out.text(job_separator);
        out.number(c"pid", job.pid);
        out.text(job_separator);
        out.pointer(c"done", job.tag.done.map_or(0, |done| done as *const () as usize));
        out.text(job_separator);
        out.pointer(c"data", job.tag.data as usize);
    }
    out.sum
}
