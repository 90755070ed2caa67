//! The arguments and the environment of this process.

use core::ffi::{c_char, CStr};

/// The words that the kernel has put on the stack (execve(2)): arguments and environment.
pub struct Args {
    argc: usize,
    argv: *mut *const c_char,
}

impl Args {
    /// # Safety
    /// `sp` must be the stack pointer at the start of the process: it points to argc, which the pointers follow.
    pub unsafe fn at(sp: *mut usize) -> Self {
        // SAFETY: by the contract.
        unsafe { Self { argc: *sp, argv: sp.wrapping_add(1).cast() } }
    }

    /// Argument `i`.
    pub fn get(&self, i: usize) -> Option<&'static CStr> {
        // SAFETY: the kernel's strings stay for the life of the process.
        (i < self.argc).then(|| unsafe { CStr::from_ptr(*self.argv.wrapping_add(i)) })
    }

    /// The pointers to the arguments from `i` on, NULL-terminated.
    pub fn from(&self, i: usize) -> *mut *const c_char {
        self.argv.wrapping_add(i.min(self.argc))
    }

    /// The value of the variable that starts with `name`, such as `HOME=`.
    pub fn variable(&self, name: &[u8]) -> Option<&'static [u8]> {
        let mut at = self.env();
        loop {
            // SAFETY: the kernel's array, which ends in NULL.
            let word = unsafe { *at };
            if word.is_null() {
                return None;
            }
            // SAFETY: as in `get`.
            let value = unsafe { CStr::from_ptr(word) }.to_bytes().strip_prefix(name);
            if value.is_some() {
                return value;
            }
            at = at.wrapping_add(1);
        }
    }

    /// The path by which this program was started (AT_EXECFN, getauxval(3)); `/dev/fd/N` for a descriptor.
    pub fn started_as(&self) -> &'static CStr {
        let mut at = self.env();
        // SAFETY: the kernel's array, which ends in NULL; behind it is the auxiliary vector, pairs of which the last one
        // is of kind 0.
        unsafe {
            while !(*at).is_null() {
                at = at.wrapping_add(1);
            }
            let mut pair = at.wrapping_add(1).cast::<[usize; 2]>();
            loop {
                match *pair {
                    [0, _] => return c"",
                    [kind, text] if kind == libc::AT_EXECFN as usize => {
                        return CStr::from_ptr(text as *const c_char)
                    }
                    _ => pair = pair.wrapping_add(1),
                }
            }
        }
    }

    /// The environment, NULL-terminated.
    pub fn env(&self) -> *const *const c_char {
        self.argv.wrapping_add(self.argc).wrapping_add(1)
    }
}
