//! Room for one byte of the pool, in shared memory.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::slots::Token;
use crate::sync::AtomicU32;

/// Room for one token's byte ([`Token`]). Everything but the kernel's own write is a compare-and-swap
/// under the generation that the caller means: AcqRel, since a byte changes hands by it.
pub struct Place(AtomicU32);

impl Place {
    /// Where read(2) is to put a byte.
    pub fn address(&self) -> *mut u8 {
        let low = if cfg!(target_endian = "big") { 3 } else { 0 };
        self.0.as_ptr().cast::<u8>().wrapping_add(low)
    }

    fn now(&self, generation: u32) -> Option<Token> {
        Some(Token(self.0.load(Acquire))).filter(|t| t.generation() == generation)
    }

    /// Changes what is there, if it is still of this use and `f` wants to; gives what was there.
    fn change(&self, generation: u32, f: impl Fn(Token) -> Option<Token>) -> Option<Token> {
        loop {
            let seen = self.now(generation)?;
            let next = f(seen)?;
            if self.0.compare_exchange(seen.0, next.0, AcqRel, Acquire).is_ok() {
                return Some(seen);
            }
        }
    }

    /// Announces a read(2). `false`: a byte is there already, or none may come.
    #[must_use]
    pub fn announce(&self, generation: u32) -> bool {
        let reading = Token::reading(generation);
        let free = |t| t == Token::empty(generation) || t == reading;
        self.change(generation, |t| free(t).then_some(reading)).is_some()
    }

    /// Says that no read(2) is under way any more, and that it has put nothing there. What is there all the same is
    /// no token: the ledger was broken.
    pub fn forgo(&self, generation: u32) {
        let empty = Token::empty(generation);
        self.change(generation, |t| t.is_reading().then_some(empty));
    }

    /// Says that read(2) has put a byte there. Until then only the reader may take it out, or who has
    /// seen the reader dead.
    pub fn mark(&self, generation: u32) {
        self.change(generation, |t| Some(t.marked()));
    }

    /// Is a read(2) announced, which may put a byte there?
    pub fn is_reading(&self, generation: u32) -> bool {
        self.now(generation).is_some_and(Token::is_reading)
    }

    /// Is there a byte whose reader is done with it?
    pub fn is_marked(&self, generation: u32) -> bool {
        self.now(generation).is_some_and(Token::is_marked)
    }

    /// Is there a byte?
    pub fn is_full(&self, generation: u32) -> bool {
        self.now(generation).is_some_and(|t| t.byte().is_some())
    }

    /// Makes the page writable that it is on, if the ledger is on a disk: that takes long, and a byte that is on
    /// its way here would be lost with who is killed over it.
    pub fn touch(&self, generation: u32) {
        self.change(generation, Some);
    }

    /// Takes the byte out, if there is one. The caller puts it where it belongs at once.
    #[must_use]
    pub fn take(&self, generation: u32) -> Option<u8> {
        let empty = Token::empty(generation);
        self.change(generation, |t| t.byte().map(|_| empty))?.byte()
    }

    /// [`Place::take`], and no byte can be put in any more.
    #[must_use]
    pub fn seal(&self, generation: u32) -> Option<u8> {
        self.change(generation, |_| Some(Token::sealed(generation)))?.byte()
    }

    /// Seals an empty place. `false`: a byte has come.
    pub fn seal_empty(&self, generation: u32) -> bool {
        let sealed = Token::sealed(generation);
        self.change(generation, |t| t.byte().is_none().then_some(sealed));
        !self.is_full(generation)
    }

    /// Puts a byte in, if the place is empty and not sealed.
    #[must_use]
    pub fn put(&self, generation: u32, byte: u8) -> bool {
        let full = Token::full(generation, byte);
        self.change(generation, |t| (t == Token::empty(generation)).then_some(full)).is_some()
    }

    /// Undoes a [`Place::take`] or [`Place::seal`] whose byte cannot go where it belongs now. `false`: a read
    /// has been announced meanwhile.
    #[must_use]
    pub fn put_back(&self, generation: u32, byte: u8) -> bool {
        let full = Token::full(generation, byte);
        let unused = |t| t == Token::empty(generation) || t == Token::sealed(generation);
        self.change(generation, |t| unused(t).then_some(full)).is_some()
    }

    /// Starts a new use.
    pub(crate) fn reset(&self, generation: u32) {
        self.0.store(Token::empty(generation).0, Relaxed);
    }
}
