//! The functions behind ours: the next definition of a symbol after this library, found in the loaded
//! objects' own hash tables.
//!
//! Why not dlsym(3) with RTLD_NEXT: linked here it would bind `dlsym@GLIBC_2.34`, and ld.so refuses to
//! run any program with such a library on an older glibc; linked to libdl it would be a second
//! DT_NEEDED. dl_iterate_phdr(3) is in libc.so.6 since 2.2.4. It takes the loader's lock, so what a
//! forked child may call is looked up before the fork ([`prepare`]).

use core::ffi::{c_char, c_int, c_void, CStr};
use core::mem::transmute_copy;
use core::num::NonZeroUsize;
use core::slice::from_raw_parts;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;

/// One function to be found behind ours.
pub struct Real {
    name: &'static CStr,
    /// 0 until it is known. Every lookup gives the same, so a race is harmless and Relaxed enough.
    at: AtomicUsize,
}

impl Real {
    pub const fn new(name: &'static CStr) -> Self {
        Self { name, at: AtomicUsize::new(0) }
    }

    /// Its address; looked up once. `None`: this libc has no such function.
    pub fn address(&self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.at.load(Relaxed))
            .or_else(|| next(self.name).inspect(|found| self.at.store(found.get(), Relaxed)))
    }

    /// Its address as a function pointer.
    ///
    /// # Safety
    /// `F` must be the type of that function.
    pub unsafe fn get<F: Copy>(&self) -> Option<F> {
        const { assert!(size_of::<F>() == size_of::<usize>()) };
        // SAFETY: an address of a function of type F, as large as one.
        self.address().map(|at| unsafe { transmute_copy::<usize, F>(&at.get()) })
    }
}

struct Search {
    name: &'static CStr,
    hash: u32,
    /// Our own object has been passed.
    passed: bool,
    found: usize,
    /// A version that is not the default one, if there is nothing else.
    hidden: usize,
}

fn next(name: &'static CStr) -> Option<NonZeroUsize> {
    let hash = gnu_hash(name);
    let mut search = Search { name, hash, passed: false, found: 0, hidden: 0 };
    // SAFETY: `visit` has the right type and `search` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    NonZeroUsize::new(search.found).or(NonZeroUsize::new(search.hidden))
}

fn gnu_hash(name: &CStr) -> u32 {
    let step = |h: u32, b: &u8| h.wrapping_mul(33).wrapping_add(u32::from(*b));
    name.to_bytes().iter().fold(5381, step)
}

unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
    // SAFETY: the loader's description of an object, and our own struct.
    let (info, search) = unsafe { (&*info, &mut *data.cast::<Search>()) };
    // SAFETY: the loader's description.
    let headers = unsafe { headers(info) };
    let base = info.dlpi_addr as usize;
    if !search.passed {
        // SAFETY: as above.
        search.passed = unsafe { is_ours(info) };
        return 0;
    }
    let dynamic = headers.iter().find(|h| h.p_type == libc::PT_DYNAMIC);
    if let Some(dynamic) = dynamic {
        // SAFETY: a loaded object's dynamic section.
        unsafe { Object::new(base, base.wrapping_add(dynamic.p_vaddr as usize)).look(search) };
    }
    c_int::from(search.found != 0)
}

/// The program headers of a loaded object.
///
/// # Safety
/// `info` must be the loader's.
pub unsafe fn headers(info: &libc::dl_phdr_info) -> &[libc::Elf64_Phdr] {
    // SAFETY: the loader's array, as long as it says.
    unsafe { from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) }
}

/// Is this object the library that this function is in?
///
/// # Safety
/// As [`headers`].
pub unsafe fn is_ours(info: &libc::dl_phdr_info) -> bool {
    let here = (gnu_hash as *const () as usize).wrapping_sub(info.dlpi_addr as usize);
    // SAFETY: by the contract.
    let headers = unsafe { headers(info) };
    headers.iter().any(|h| {
        h.p_type == libc::PT_LOAD && here.wrapping_sub(h.p_vaddr as usize) < h.p_memsz as usize
    })
}

/// The tables of a loaded object (elf(5), "Dynamic tags").
#[derive(Default)]
struct Object {
    base: usize,
    symbols: usize,
    strings: usize,
    hash: usize,
    versions: usize,
}

#[repr(C)]
struct Dyn {
    tag: i64,
    value: usize,
}

impl Object {
    /// # Safety
    /// `at` must be the DT_NULL-terminated dynamic section of the object at `base`.
    unsafe fn new(base: usize, at: usize) -> Self {
        let mut this = Self { base, ..Self::default() };
        let mut entry = at as *const Dyn;
        loop {
            // SAFETY: by the contract; the loop ends at DT_NULL.
            let Dyn { tag, value } = unsafe { entry.read() };
            // The loader has added the base to these, except in the vdso.
            let address = if value < base { value.wrapping_add(base) } else { value };
            match tag {
                0 => return this,
                5 => this.strings = address,
                6 => this.symbols = address,
                0x6fff_fef5 => this.hash = address,
                0x6fff_fff0 => this.versions = address,
                _ => {}
            }
            entry = entry.wrapping_add(1);
        }
    }

    /// Looks the symbol up in the GNU hash table: buckets, then chains whose last hash has bit 0 set.
    ///
    /// # Safety
    /// The tables must be those of a loaded object.
    unsafe fn look(&self, search: &mut Search) {
        if self.hash == 0 || self.symbols == 0 || self.strings == 0 {
            return;
        }
        let word = |i: usize| {
            let at = (self.hash as *const u32).wrapping_add(i);
            // SAFETY: within the hash table, by its own numbers.
            unsafe { at.read() }
        };
        let (buckets, first, bloom) = (word(0), word(1), word(2) as usize);
        let Some(bucket) = search.hash.checked_rem(buckets) else {
            return;
        };
        // Four words of header, then `bloom` 64-bit words.
        let table = bloom.wrapping_mul(2).wrapping_add(4);
        let chains = table.wrapping_add(buckets as usize);
        let mut i = word(table.wrapping_add(bucket as usize));
        if i < first {
            return;
        }
        loop {
            let hash = word(chains.wrapping_add(i.wrapping_sub(first) as usize));
            if (hash ^ search.hash) >> 1 == 0 {
                // SAFETY: `i` is a symbol of the table.
                unsafe { self.consider(i as usize, search) };
            }
            if hash & 1 == 1 || search.found != 0 {
                return;
            }
            i = i.wrapping_add(1);
        }
    }

    /// # Safety
    /// `i` must be an index of the symbol table.
    unsafe fn consider(&self, i: usize, search: &mut Search) {
        // SAFETY: by the contract, and names are C strings of the string table.
        let (symbol, name) = unsafe {
            let symbol = (self.symbols as *const libc::Elf64_Sym).wrapping_add(i).read();
            let name = (self.strings as *const c_char).wrapping_add(symbol.st_name as usize);
            (symbol, CStr::from_ptr(name))
        };
        if symbol.st_shndx == 0 || name != search.name {
            return;
        }
        let at = self.base.wrapping_add(symbol.st_value as usize);
        // SAFETY: the version table has an entry per symbol. Bit 15 marks versions other than the default.
        let hidden = self.versions != 0
            && unsafe { (self.versions as *const u16).wrapping_add(i).read() } & 0x8000 != 0;
        if hidden {
            search.hidden = at;
        } else {
            search.found = at;
        }
    }
}

macro_rules! reals {
    ($($(#[$doc:meta])* $name:ident = $symbol:literal;)*) => {
        $(pub static $name: Real = Real::new($symbol);)*
        static ALL: &[&Real] = &[$(&$name),*];
    };
}

reals! {
    FORK = c"fork";
    UNDERSCORE_FORK = c"_Fork";
    POSIX_SPAWN = c"posix_spawn";
    POSIX_SPAWNP = c"posix_spawnp";
    EXECVE = c"execve";
    EXECVPE = c"execvpe";
    WAIT = c"wait";
    WAITPID = c"waitpid";
    WAIT3 = c"wait3";
    WAIT4 = c"wait4";
    WAITID = c"waitid";
    EXIT = c"_exit";
    QUICK_EXIT = c"quick_exit";
    SYSTEM = c"system";
    POPEN = c"popen";
    PCLOSE = c"pclose";
    FCLOSE = c"fclose";
    FORKPTY = c"forkpty";
}

/// Looks everything up that a forked child may need: there the loader's lock may be held for ever.
pub fn prepare() {
    for real in ALL {
        real.address();
    }
}
