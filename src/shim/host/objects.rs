//! The loaded objects: which one contains an address, and their own symbol tables (elf(5)).

use core::ffi::{c_char, c_int, c_void, CStr};
use core::num::NonZeroUsize;
use core::slice::from_raw_parts;

use once_cell::race::OnceNonZeroUsize;

type Info = libc::dl_phdr_info;

/// Calls `visit` with the loaded objects in the loader's order, until it returns true. Takes the loader's lock, as
/// dl_iterate_phdr(3) does.
pub fn each<F: FnMut(&Info) -> bool>(mut visit: F) {
    // SAFETY: `shim` gets the address of `visit`, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(shim::<F>), (&raw mut visit).cast()) };
}

unsafe extern "C" fn shim<F: FnMut(&Info) -> bool>(
    info: *mut Info,
    _: usize,
    data: *mut c_void,
) -> c_int {
    // SAFETY: the loader's description of an object, and the closure of `each`.
    unsafe { c_int::from((*data.cast::<F>())(&*info)) }
}

/// The program headers of a loaded object.
pub fn headers(info: &Info) -> &[libc::Elf64_Phdr] {
    // SAFETY: the loader's array, as long as it says.
    unsafe { from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) }
}

/// Returns whether this address is in this object.
pub fn contains(info: &Info, address: usize) -> bool {
    let here = address.wrapping_sub(info.dlpi_addr as usize);
    headers(info).iter().any(|h| {
        h.p_type == libc::PT_LOAD && here.wrapping_sub(h.p_vaddr as usize) < h.p_memsz as usize
    })
}

/// Returns whether this object is our library.
pub fn is_ours(info: &Info) -> bool {
    contains(info, gnu_hash as *const () as usize)
}

/// The path by which the loader found this library; empty if it tells none. Looked up once, and not in a forked
/// child (`is_fork`), where the loader's lock may be held for ever: [`super::next::prepare`] does it before a fork.
pub fn own_path(is_fork: bool) -> &'static CStr {
    /// The loader keeps its string as long as the library; every lookup gives the same result.
    static PATH: OnceNonZeroUsize = OnceNonZeroUsize::new();
    if PATH.get().is_none() && !is_fork {
        each(|info| {
            let ours = is_ours(info);
            if let (true, Some(name)) = (ours, NonZeroUsize::new(info.dlpi_name as usize)) {
                let _ = PATH.set(name);
            }
            ours
        });
    }
    // SAFETY: the loader's C string.
    PATH.get().map_or(c"", |path| unsafe { CStr::from_ptr(path.get() as *const c_char) })
}

/// The hash of a symbol's name in DT_GNU_HASH.
pub const fn gnu_hash(name: &CStr) -> u32 {
    let mut rest = name.to_bytes();
    let mut hash = 5381u32;
    while let [b, tail @ ..] = rest {
        hash = hash.wrapping_mul(33).wrapping_add(*b as u32);
        rest = tail;
    }
    hash
}

/// The tables of a loaded object (elf(5), "Dynamic tags").
#[derive(Default)]
pub struct Object {
    base: usize,
    symbols: usize,
    strings: usize,
    hash: usize,
    versions: usize,
    needed: usize,
}

#[repr(C)]
struct Dyn {
    tag: i64,
    value: usize,
}

/// `Elf64_Verneed`
#[repr(C)]
struct Needed {
    version: u16,
    count: u16,
    file: u32,
    first: u32,
    next: u32,
}

/// `Elf64_Vernaux`
#[repr(C)]
struct Version {
    hash: u32,
    flags: u16,
    index: u16,
    name: u32,
    next: u32,
}

/// The addresses at which an object defines a symbol; 0: it does not.
#[derive(Clone, Copy, Default)]
pub struct Definitions {
    /// In the version to which a new program is linked.
    pub newest: usize,
    /// In an older version.
    pub old: usize,
}

impl Definitions {
    /// The newest one.
    pub fn best(&self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.newest).or(NonZeroUsize::new(self.old))
    }
}

impl Object {
    /// The tables of this object. Returns None if it lacks one that a lookup needs.
    pub fn of(info: &Info) -> Option<Self> {
        let base = info.dlpi_addr as usize;
        let dynamic = headers(info).iter().find(|h| h.p_type == libc::PT_DYNAMIC)?;
        let mut this = Self { base, ..Self::default() };
        let mut entry = base.wrapping_add(dynamic.p_vaddr as usize) as *const Dyn;
        loop {
            // SAFETY: a loaded object's dynamic section; the loop ends at DT_NULL.
            let Dyn { tag, value } = unsafe { entry.read() };
            // The loader has added the base to most of these, except in the vdso.
            let address = if value < base { value.wrapping_add(base) } else { value };
            match tag {
                0 => break,
                5 => this.strings = address,
                6 => this.symbols = address,
                0x6fff_fef5 => this.hash = address,
                0x6fff_fff0 => this.versions = address,
                0x6fff_fffe => this.needed = address,
                _ => {}
            }
            entry = entry.wrapping_add(1);
        }
        (this.hash != 0 && this.symbols != 0 && this.strings != 0).then_some(this)
    }

    /// Word `i` of the hash table.
    fn word(&self, i: usize) -> u32 {
        // SAFETY: within the hash table, by its own numbers.
        unsafe { (self.hash as *const u32).wrapping_add(i).read() }
    }

    fn string(&self, at: u32) -> &CStr {
        // SAFETY: the string table of a loaded object.
        unsafe { CStr::from_ptr((self.strings as *const c_char).wrapping_add(at as usize)) }
    }

    fn symbol(&self, i: usize) -> libc::Elf64_Sym {
        // SAFETY: an index that the object's own tables gave.
        unsafe { (self.symbols as *const libc::Elf64_Sym).wrapping_add(i).read() }
    }

    /// The version of symbol `i`. Bit 15 marks versions other than the newest.
    fn version(&self, i: usize) -> u16 {
        if self.versions == 0 {
            return 0;
        }
        // SAFETY: the version table has an entry per symbol.
        unsafe { (self.versions as *const u16).wrapping_add(i).read() }
    }

    /// Looks a symbol up in the GNU hash table: buckets, then chains whose last hash has bit 0 set.
    pub fn find(&self, name: &CStr, hash: u32) -> Definitions {
        let mut found = Definitions::default();
        let (buckets, first, bloom) = (self.word(0), self.word(1), self.word(2) as usize);
        let Some(bucket) = hash.checked_rem(buckets) else { return found };
        // Four words of header, then `bloom` 64-bit words.
        let table = bloom.wrapping_mul(2).wrapping_add(4);
        let chains = table.wrapping_add(buckets as usize);
        let mut i = self.word(table.wrapping_add(bucket as usize));
        if i < first {
            return found;
        }
        loop {
            let here = self.word(chains.wrapping_add(i.wrapping_sub(first) as usize));
            if (here ^ hash) >> 1 == 0 {
                self.consider(i as usize, name, &mut found);
            }
            if here & 1 == 1 {
                return found;
            }
            i = i.wrapping_add(1);
        }
    }

    fn consider(&self, i: usize, name: &CStr, found: &mut Definitions) {
        let symbol = self.symbol(i);
        if symbol.st_shndx == 0 || self.string(symbol.st_name) != name {
            return;
        }
        let at = self.base.wrapping_add(symbol.st_value as usize);
        if self.version(i) & 0x8000 == 0 {
            found.newest = at;
        } else {
            found.old = at;
        }
    }

    /// Returns whether this object imports `name` in this version.
    pub fn wants(&self, name: &CStr, version: &CStr) -> bool {
        let Some(index) = self.needed_index(version) else { return false };
        // Imported symbols come before those in the hash table.
        (1..self.word(1) as usize).any(|i| {
            self.version(i) & 0x7fff == index && self.string(self.symbol(i).st_name) == name
        })
    }

    /// The index by which this object refers to a version that it imports.
    fn needed_index(&self, version: &CStr) -> Option<u16> {
        let mut at = self.needed;
        while at != 0 {
            // SAFETY: the chains of DT_VERNEED end with an offset of 0.
            let file = unsafe { (at as *const Needed).read() };
            let mut aux = at.wrapping_add(file.first as usize);
            for _ in 0..file.count {
                // SAFETY: as above.
                let v = unsafe { (aux as *const Version).read() };
                if self.string(v.name) == version {
                    return Some(v.index);
                }
                aux = aux.wrapping_add(v.next as usize);
            }
            at = if file.next == 0 { 0 } else { at.wrapping_add(file.next as usize) };
        }
        None
    }
}
