//! The functions behind the hooks.

#![allow(non_upper_case_globals)]

use core::ffi::{c_char, c_int, c_ulong, c_void};

use crate::exec::environ::Strings;
use crate::host::next::Next;

use super::types::{ErrorNumber, Never, Run};

/// The function behind one door.
macro_rules! behind {
    (= $name:ident ($($arg:ident: $type:ty),*) -> $ret:ty) => {
        #[link_section = "jsshim_doors"]
        pub static $name: Next<unsafe extern "C" fn($($type),*) -> $ret> =
            Next::new(concat!(stringify!($name), "\0"));
    };
    (=> $name:ident $args:tt -> $ret:ty) => {};
}

macro_rules! doors {
    ($($kind:ident [$($name:ident),+] $args:tt -> $ret:ty, $how:tt $body:tt;)*) => {
        $($(behind!($how $name $args -> $ret);)+)*
    };
}

include!("table.rs");
