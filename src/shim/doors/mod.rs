//! The doors: every function of libc through which a process makes, collects or becomes another, sleeps, or
//! ends. One table ([`table`]) makes the hooks and finds the functions behind them; the tests read the
//! same table to know what the library may export, and what the README must name.
//!
//! A hook is: foreign? → before → real → after, in its body in `hooks`.

use core::convert::Infallible;
use core::ffi::c_int;

use jsshim_engine::sys;

use crate::real::Missing;

/// An error number as a result, as posix_spawn(3) gives it.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorNumber(pub c_int);

impl Missing for ErrorNumber {
    fn missing() -> Self {
        Self(libc::ENOSYS)
    }
}

/// The result of a function that does not return.
pub type Never = Infallible;

impl Missing for Never {
    fn missing() -> Self {
        sys::exit(127)
    }
}

/// Makes the hook of one door.
macro_rules! hook {
    (= $name:ident ($($arg:ident: $type:ty),*) -> $ret:ty, [$($body:tt)+]) => {
        #[doc = concat!("Hook of `", stringify!($name), "`; see its manual page.")]
        ///
        /// # Safety
        /// As of that function.
        #[no_mangle]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $ret {
            let real = |$($arg: $type),*| match crate::doors::behind::$name.get() {
                // SAFETY: the function behind, with what the host gave or copies of the same shape.
                Some(f) => unsafe { f($($arg),*) },
                None => crate::real::Missing::missing(),
            };
            // SAFETY: the host's arguments.
            unsafe { $($body)+(real, $($arg),*) }
        }
    };
    (=> $name:ident ($($arg:ident: $type:ty),*) -> $ret:ty, [$($body:tt)+]) => {
        #[doc = concat!("Hook of `", stringify!($name), "`; see its manual page.")]
        ///
        /// # Safety
        /// As of that function.
        #[no_mangle]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $ret {
            // SAFETY: the host's arguments.
            unsafe { $($body)+($($arg),*) }
        }
    };
    ($how:tt $name:ident $args:tt -> $ret:ty, asm) => {};
}

/// The function behind one door.
macro_rules! behind {
    (= $name:ident ($($arg:ident: $type:ty),*) -> $ret:ty) => {
        #[link_section = "jsshim_doors"]
        pub static $name: Real<unsafe extern "C" fn($($type),*) -> $ret> =
            Real::new(concat!(stringify!($name), "\0"));
    };
    (=> $name:ident $args:tt -> $ret:ty) => {};
}

macro_rules! doors {
    ($($kind:ident [$($name:ident),+] $args:tt -> $ret:ty, $how:tt $body:tt;)*) => {
        /// The hooks that are made here.
        mod hooks {
            use super::{ErrorNumber, Never};
            use crate::environ::Strings;
            use crate::hooks::{block, exec, exit, fork, reap, spawn, stdio};
            use core::ffi::{c_char, c_int, c_ulong, c_void};
            $($(hook!($how $name $args -> $ret, $body);)+)*
        }

        /// The functions behind the hooks.
        #[allow(non_upper_case_globals)]
        pub mod behind {
            use super::{ErrorNumber, Never};
            use crate::environ::Strings;
            use crate::hooks::fork;
            use crate::real::Real;
            use core::ffi::{c_char, c_int, c_ulong, c_void};
            $($(behind!($how $name $args -> $ret);)+)*
        }
    };
}

include!("table.rs");
