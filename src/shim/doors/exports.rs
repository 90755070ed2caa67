//! The hooks that are made from the table. The others are in `asm_x86_64` and `asm_aarch64`.

use core::ffi::{c_char, c_int, c_ulong, c_void};

use crate::exec::environ::Strings;
use crate::hooks::{block, exec, exit, fork, reap, spawn, stdio};

use super::types::{ErrorNumber, Never, Run};

/// Makes the hook of one door.
macro_rules! hook {
    (= $name:ident ($($arg:ident: $type:ty),*) -> $ret:ty, [$($body:tt)+]) => {
        #[doc = concat!("Hook of `", stringify!($name), "`; see its manual page.")]
        ///
        /// # Safety
        /// As for that function.
        #[no_mangle]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $ret {
            let real = |$($arg: $type),*| match crate::doors::behind::$name.get() {
                // SAFETY: the function behind, with the host's arguments or copies of the same shape.
                Some(f) => unsafe { f($($arg),*) },
                None => crate::host::errno::Missing::missing(),
            };
            // SAFETY: the host's arguments.
            unsafe { $($body)+(real, $($arg),*) }
        }
    };
    (=> $name:ident ($($arg:ident: $type:ty),*) -> $ret:ty, [$($body:tt)+]) => {
        #[doc = concat!("Hook of `", stringify!($name), "`; see its manual page.")]
        ///
        /// # Safety
        /// As for that function.
        #[no_mangle]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $ret {
            // SAFETY: the host's arguments.
            unsafe { $($body)+($($arg),*) }
        }
    };
    ($how:tt $name:ident $args:tt -> $ret:ty, asm) => {};
}

macro_rules! doors {
    ($($kind:ident [$($name:ident),+] $args:tt -> $ret:ty, $how:tt $body:tt;)*) => {
        $($(hook!($how $name $args -> $ret, $body);)+)*
    };
}

include!("table.rs");
