//! The atomics of the engine: the real ones, each with a step before it at which its process may be
//! killed; or loom's.

#[cfg(feature = "loom")]
pub use crate::model::*;
#[cfg(not(feature = "loom"))]
pub use plain::*;

#[cfg(not(feature = "loom"))]
mod plain {
    /// What the kernel itself notes.
    pub use core::sync::atomic::AtomicBool as Flag;
    pub use core::sync::atomic::{fence, Ordering};
    pub use std::thread_local as per_thread;

    pub use crate::turns::with_kernel;

    use core::sync::atomic as real;
    use core::sync::atomic::Ordering::Relaxed;

    use crate::kernel;

    macro_rules! atomic {
        ($name:ident, $value:ty, [$($of:ident)?], [$($new:tt)*], $($op:ident)*) => {
            #[repr(transparent)]
            pub struct $name$(<$of>)?(real::$name$(<$of>)?);

            impl$(<$of>)? $name$(<$of>)? {
                pub $($new)* fn new(value: $value) -> Self {
                    Self(real::$name::new(value))
                }

                pub fn load(&self, order: Ordering) -> $value {
                    kernel::step(core::ptr::from_ref(self).addr());
                    self.0.load(order)
                }

                pub fn store(&self, value: $value, order: Ordering) {
                    kernel::step(core::ptr::from_ref(self).addr());
                    self.0.store(value, order);
                }

                pub fn compare_exchange(
                    &self,
                    old: $value,
                    new: $value,
                    done: Ordering,
                    not: Ordering,
                ) -> Result<$value, $value> {
                    kernel::step(core::ptr::from_ref(self).addr());
                    self.0.compare_exchange(old, new, done, not)
                }

                pub fn compare_exchange_weak(
                    &self,
                    old: $value,
                    new: $value,
                    done: Ordering,
                    not: Ordering,
                ) -> Result<$value, $value> {
                    self.compare_exchange(old, new, done, not)
                }

                pub fn as_ptr(&self) -> *mut $value {
                    self.0.as_ptr()
                }

                $(pub fn $op(&self, value: $value, order: Ordering) -> $value {
                    kernel::step(core::ptr::from_ref(self).addr());
                    self.0.$op(value, order)
                })*
            }
        };
    }

    atomic!(AtomicU8, u8, [], [const], swap);
    atomic!(AtomicU16, u16, [], [const], swap);
    atomic!(AtomicU32, u32, [], [const], swap fetch_add fetch_or fetch_max fetch_min);
    atomic!(AtomicU64, u64, [], [const], swap fetch_add fetch_and fetch_or fetch_max);
    atomic!(AtomicI32, i32, [], [const], swap);
    atomic!(AtomicUsize, usize, [], [const], swap fetch_add fetch_sub fetch_max);
    atomic!(AtomicPtr, *mut T, [T], [const], swap);

    pub fn boot() {
        kernel::doom(0, 0);
    }

    /// Something happens to a pipe, or a signal is sent.
    pub fn changes<R>(f: impl FnOnce() -> R) -> R {
        f()
    }

    /// Waits until `ready` says so; meanwhile the others go on.
    pub fn wait_until(ready: &mut dyn FnMut() -> bool) {
        while !ready() {
            crate::turns::pause();
            kernel::live();
        }
    }

    /// A turn of the others, if this process is one that takes turns.
    pub fn others_go_on() {
        if crate::turns::may_pause() {
            crate::turns::pause();
            kernel::live();
        }
    }

    /// A byte of a ledger becomes another one.
    ///
    /// # Safety
    /// `at` must be in the memory of a ledger.
    pub unsafe fn breaks(at: *mut u8, mask: u8) {
        // SAFETY: by the contract; everything there is atomics.
        unsafe { real::AtomicU8::from_ptr(at) }.fetch_xor(mask, Relaxed);
    }

    /// A word of a ledger as it is now.
    ///
    /// # Safety
    /// `at` must be in the memory of a ledger, and aligned.
    pub unsafe fn peek(at: *mut u64) -> u64 {
        // SAFETY: by the contract; everything there is atomics.
        unsafe { real::AtomicU64::from_ptr(at) }.load(Relaxed)
    }

    /// The kernel's own write of a byte that was read.
    ///
    /// # Safety
    /// `to` must be in the memory of a ledger.
    pub unsafe fn kernel_writes(to: *mut u8, byte: u8) {
        // SAFETY: by the contract; everything there is atomics.
        unsafe { real::AtomicU8::from_ptr(to) }.store(byte, Relaxed);
    }
}
