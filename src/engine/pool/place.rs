//! Room for one byte of the pool, in shared memory.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::slots::Token;
use crate::sync::AtomicU64;

/// Room for one token's byte ([`Token`]). Everything but the kernel's own write is a compare-and-swap under the
/// caller's generation. AcqRel: a byte changes hands by it.
pub struct Place(AtomicU64);

impl Place {
    /// The address to which read(2) writes a byte.
    pub fn address(&self) -> *mut u8 {
        let low = if cfg!(target_endian = "big") { 7 } else { 0 };
        self.0.as_ptr().cast::<u8>().wrapping_add(low)
    }

    fn now(&self, generation: u64) -> Option<Token> {
        Some(Token(self.0.load(Acquire))).filter(|t| t.generation() == generation)
    }

    /// Replaces the value with `f(value)` if it is of this generation and `f` returns Some. Returns the value before.
    fn change(&self, generation: u64, f: impl Fn(Token) -> Option<Token>) -> Option<Token> {
        loop {
            let seen = self.now(generation)?;
            let next = f(seen)?;
            if self.0.compare_exchange(seen.0, next.0, AcqRel, Acquire).is_ok() {
                return Some(seen);
            }
        }
    }

    /// Announces a read(2). Returns false if there is a byte already, or none may be put in.
    #[must_use]
    pub fn announce(&self, generation: u64) -> bool {
        let reading = Token::reading(generation);
        let free = |t| t == Token::empty(generation) || t == reading;
        self.change(generation, |t| free(t).then_some(reading)).is_some()
    }

    /// Notes that no read(2) is under way any more, and that it has put in no byte. A byte that is there all the same
    /// is no token: the ledger was broken.
    pub fn forgo(&self, generation: u64) {
        let empty = Token::empty(generation);
        self.change(generation, |t| t.is_reading().then_some(empty));
    }

    /// Notes that read(2) has put a byte in. Until then only the reader may take it, or a process that has found the
    /// reader dead.
    pub fn mark(&self, generation: u64) {
        self.change(generation, |t| Some(t.marked()));
    }

    /// Returns whether a read(2) is announced, which may put a byte in.
    pub fn is_reading(&self, generation: u64) -> bool {
        self.now(generation).is_some_and(Token::is_reading)
    }

    /// Returns whether there is a marked byte.
    pub fn is_marked(&self, generation: u64) -> bool {
        self.now(generation).is_some_and(Token::is_marked)
    }

    /// Returns whether there is a byte.
    pub fn is_full(&self, generation: u64) -> bool {
        self.now(generation).is_some_and(|t| t.byte().is_some())
    }

    /// Makes the place's page writable. If the ledger is on a disk, that takes long, and a process killed during it
    /// would lose the byte that it carries.
    pub fn touch(&self, generation: u64) {
        self.change(generation, Some);
    }

    /// Takes the byte, if there is one. The caller must store it where it belongs at once.
    #[must_use]
    pub fn take(&self, generation: u64) -> Option<u8> {
        let empty = Token::empty(generation);
        self.change(generation, |t| t.byte().map(|_| empty))?.byte()
    }

    /// [`Place::take`]; no byte can be put in any more.
    #[must_use]
    pub fn seal(&self, generation: u64) -> Option<u8> {
        self.change(generation, |_| Some(Token::sealed(generation)))?.byte()
    }

    /// Seals an empty place. Returns false if a byte has arrived.
    pub fn seal_empty(&self, generation: u64) -> bool {
        let sealed = Token::sealed(generation);
        self.change(generation, |t| t.byte().is_none().then_some(sealed));
        !self.is_full(generation)
    }

    /// Puts a byte in. Returns false if the place is not empty, or is sealed.
    #[must_use]
    pub fn put(&self, generation: u64, byte: u8) -> bool {
        let full = Token::full(generation, byte);
        self.change(generation, |t| (t == Token::empty(generation)).then_some(full)).is_some()
    }

    /// Undoes a [`Place::take`] or [`Place::seal`] whose byte cannot go where it belongs now. Returns false if a read
    /// has been announced meanwhile.
    #[must_use]
    pub fn put_back(&self, generation: u64, byte: u8) -> bool {
        let full = Token::full(generation, byte);
        let unused = |t| t == Token::empty(generation) || t == Token::sealed(generation);
        self.change(generation, |t| unused(t).then_some(full)).is_some()
    }

    /// Empties the place for a new generation.
    pub(crate) fn reset(&self, generation: u64) {
        self.0.store(Token::empty(generation).0, Relaxed);
    }
}
