//! What an ELF program says of itself.

use std::path::{Path, PathBuf};

use object::elf::DT_NEEDED;
use object::read::elf::{Dyn, ElfFile64, ProgramHeader};

/// A program of this machine's word size.
pub struct Elf {
    /// Its loader (PT_INTERP).
    pub loader: Option<PathBuf>,
    /// The libraries that it names.
    pub needed: Vec<String>,
    /// Has it make's words (`jobserver-auth`) in it?
    pub speaks: bool,
}

impl Elf {
    /// Does it take its own tokens?
    pub fn is_speaker(&self) -> bool {
        self.speaks || self.needed.iter().any(|name| name.starts_with("libjobserver.so"))
    }

    /// Reads it; `None` if it is none, or cannot be read.
    pub fn read(path: &Path) -> Option<Elf> {
        let data = std::fs::read(path).ok()?;
        let file: ElfFile64 = ElfFile64::parse(&*data).ok()?;
        let endian = file.endian();
        let loader =
            file.elf_program_headers().iter().find_map(|h| h.interpreter(endian, &*data).ok()?);
        let loader = loader.map(|l| PathBuf::from(String::from_utf8_lossy(l).into_owned()));
        let sections = file.elf_section_table();
        let mut needed = Vec::new();
        if let Ok(Some((list, strings))) = sections.dynamic(endian, &*data) {
            let strings = sections.strings(endian, &*data, strings).unwrap_or_default();
            let of = |d: &&_| Dyn::tag(*d, endian) == DT_NEEDED;
            let names = list.iter().filter(of).filter_map(|d| d.string(endian, strings).ok());
            needed.extend(names.map(|n| String::from_utf8_lossy(n).into_owned()));
        }
        let speaks = jsshim_engine::program::speaker::are_in(&data);
        Some(Elf { loader, needed, speaks })
    }
}
