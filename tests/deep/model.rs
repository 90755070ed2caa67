//! The atomics under loom: each is made when it is first used, for the place where it lies in memory, so
//! that mapped memory and statics need not know of it.
//!
//! What loom must see are the atomics, the pool and the signals. The rest of the kernel belongs to one
//! process each. What a ledger counts ([`Stats`]) is kept from it: nothing depends on those numbers, and all
//! the orders in which they can be added up are many.

pub use loom::sync::atomic::{fence, AtomicBool as Flag};
pub use loom::thread_local as per_thread;
pub use std::sync::atomic::Ordering;

use std::any::Any;
use std::cell::{RefCell, UnsafeCell};
use std::collections::HashMap;
use std::mem::offset_of;
use std::rc::Rc;
use std::sync::{atomic as plain, Arc};

use loom::sync::{atomic as real, Condvar, Mutex};

use crate::kernel::{self, Kernel, Memory};
use crate::ledger::header::Header;
use crate::ledger::record::Record;
use crate::ledger::stats::Stats;

// All threads of a model are coroutines of one.
std::thread_local! {
    static ATOMICS: RefCell<HashMap<(usize, i32), Rc<dyn Any>>> = RefCell::default();
    static KERNEL: RefCell<Kernel> = RefCell::default();
}

loom::lazy_static! {
    static ref PIPES: Mutex<()> = Mutex::new(());
    static ref CHANGED: Condvar = Condvar::new();
}

/// Forgets the atomics of the execution before.
pub fn boot() {
    ATOMICS.with(|all| all.borrow_mut().clear());
}

pub fn with_kernel<R>(f: impl FnOnce(&mut Kernel) -> R) -> R {
    KERNEL.with(|k| f(&mut k.borrow_mut()))
}

/// Something happens to a pipe, or a signal is sent.
pub fn changes<R>(f: impl FnOnce() -> R) -> R {
    let pipes = PIPES.lock().expect("nobody panics");
    let result = f();
    CHANGED.notify_all();
    drop(pipes);
    result
}

/// Waits until `ready` says so.
pub fn wait_until(ready: &mut dyn FnMut() -> bool) {
    let mut pipes = PIPES.lock().expect("nobody panics");
    while !ready() {
        pipes = CHANGED.wait(pipes).expect("nobody panics");
    }
}

pub fn others_go_on() {
    loom::thread::yield_now();
}

/// Is this a number of [`Stats`]?
fn is_counter(address: usize) -> bool {
    let begin = offset_of!(Header, stats);
    let counts = |m: &Arc<Memory>| {
        (begin..begin + size_of::<Stats>()).contains(&address.wrapping_sub(m.range().start))
    };
    with_kernel(|k| k.mapped.iter().any(counts))
}

/// loom's atomic, and another one beside it that orders nothing.
struct Placed<A> {
    atomic: A,
    /// loom remembers one access to each atomic, so that a load by the thread that is about to change it
    /// hides that of another one before, and the two are never tried in the other order. A write here,
    /// which cannot be hidden, goes before each access to a token's place.
    seen: real::AtomicU8,
}

/// Is this one of [`crate::ledger::record::Record::places`]?
fn is_place(address: usize) -> bool {
    let places = [offset_of!(Record, landing), offset_of!(Record, gift)];
    let in_record = |m: &Arc<Memory>| {
        let at = address.wrapping_sub(m.range().start);
        m.range().contains(&address)
            && at >= size_of::<Header>()
            && places.contains(&((at - size_of::<Header>()) % size_of::<Record>()))
    };
    with_kernel(|k| k.mapped.iter().any(in_record))
}

/// The atomic at an address: of the ledger, or of the memory of the current process.
fn at<A: 'static>(address: usize, new: impl FnOnce() -> A) -> Rc<Placed<A>> {
    let in_ledger = |m: &Arc<Memory>| m.range().contains(&address);
    let shared = with_kernel(|k| k.mapped.iter().any(in_ledger));
    let key = (address, if shared { 0 } else { kernel::current() });
    let known = ATOMICS.with(|all| all.borrow().get(&key).cloned());
    let any = known.unwrap_or_else(|| {
        let made: Rc<dyn Any> = Rc::new(Placed { atomic: new(), seen: real::AtomicU8::new(0) });
        ATOMICS.with(|all| all.borrow_mut().insert(key, made.clone()));
        made
    });
    let placed: Rc<Placed<A>> = any.downcast().expect("a place has one type");
    if is_place(address) {
        placed.seen.fetch_add(0, Ordering::Relaxed);
    }
    placed
}

macro_rules! atomic {
    ($name:ident, $value:ty, [$($of:ident)?], $($op:ident)*) => {
        #[repr(transparent)]
        pub struct $name$(<$of>)?(UnsafeCell<$value>);

        // SAFETY: the cell is only read, when the atomic is made.
        unsafe impl$(<$of>)? Sync for $name$(<$of>)? {}
        // SAFETY: as above.
        unsafe impl$(<$of>)? Send for $name$(<$of>)? {}

        impl$(<$of: 'static>)? $name$(<$of>)? {
            fn real(&self) -> Rc<Placed<real::$name$(<$of>)?>> {
                kernel::deliver();
                // SAFETY: nobody writes it.
                at(self.0.get().addr(), || real::$name::new(unsafe { *self.0.get() }))
            }

            fn counter(&self) -> Option<&plain::$name$(<$of>)?> {
                if !is_counter(self.0.get().addr()) {
                    return None;
                }
                // SAFETY: it lies in a ledger, and each access to it is by what is made here.
                Some(unsafe { plain::$name::from_ptr(self.0.get()) })
            }

            pub fn load(&self, order: Ordering) -> $value {
                if let Some(counter) = self.counter() {
                    return counter.load(order);
                }
                self.real().atomic.load(order)
            }

            pub fn store(&self, value: $value, order: Ordering) {
                self.real().atomic.store(value, order);
            }

            pub fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                done: Ordering,
                not: Ordering,
            ) -> Result<$value, $value> {
                self.real().atomic.compare_exchange(old, new, done, not)
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
                self.0.get()
            }

            $(pub fn $op(&self, value: $value, order: Ordering) -> $value {
                match self.counter() {
                    Some(counter) => counter.$op(value, order),
                    None => self.real().atomic.$op(value, order),
                }
            })*
        }

        impl$(<$of>)? $name$(<$of>)? {
            pub const fn new(value: $value) -> Self {
                Self(UnsafeCell::new(value))
            }
        }
    };
}

atomic!(AtomicU8, u8, [], swap);
atomic!(AtomicU16, u16, [], swap);
atomic!(AtomicU32, u32, [], swap fetch_add fetch_or fetch_max fetch_min);
atomic!(AtomicU64, u64, [], swap fetch_add fetch_and fetch_or fetch_max);
atomic!(AtomicI32, i32, [], swap);
atomic!(AtomicUsize, usize, [], swap fetch_add fetch_sub fetch_max);
atomic!(AtomicPtr, *mut T, [T], swap);

/// The kernel's own write of a byte that was read: it orders nothing.
///
/// # Safety
/// `to` must be the low byte of an [`AtomicU64`].
pub unsafe fn kernel_writes(to: *mut u8, byte: u8) {
    let word = at(to.addr(), || real::AtomicU64::new(0));
    let put = |seen| Some(seen & !0xff | u64::from(byte));
    let _ = word.atomic.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put);
}
