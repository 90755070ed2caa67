//! The ledger: with any content from the start, and with bytes that change while it is used.

use core::mem::offset_of;

use super::world::{record_at, World, PLACES, RECORD};
use crate::kernel::{kernel, Memory};
use crate::ledger::header::Header;
use crate::slots::Token;

/// Of the header, what lies between the magic number and what is only known of this file.
const FIELDS: core::ops::Range<usize> = 8..offset_of!(Header, root_born) + 4;
/// Where in the header it says how many records were ever used.
const HIGH: usize = offset_of!(Header, guard_fd) + 4;

/// The pool's values; one of them is what stands for none in a record.
const TOKENS: [u8; 4] = [b'+', 0x9d, 0, 0xff];

/// A ledger that holds anything: nothing crashes or hangs, and no byte goes back twice.
///
/// The input: how many tokens are in the pool, the number of records, the fields of the header from behind
/// its magic number, the records without their names, and what happens then. With a high number of records
/// all of the file counts as used.
pub fn any_ledger(data: &[u8]) {
    let [tokens, number, rest @ ..] = data else { return };
    let records = usize::from(number % 9);
    let Some((header, rest)) = rest.split_at_checked(FIELDS.len()) else { return };
    let Some((records, script)) = rest.split_at_checked(records * RECORD) else { return };
    let world = World::new(&TOKENS[..usize::from(tokens % 5)], |memory| {
        write(memory, FIELDS.start, header);
        if *number < 0x80 {
            write(memory, HIGH, &u32::from(header[HIGH - FIELDS.start] % 16).to_le_bytes());
        }
        for (record, index) in records.chunks(RECORD).zip(1..) {
            write(memory, record_at(index), record);
        }
        let full =
            records.chunks(RECORD).map(|r| PLACES.iter().filter(|at| is_full(r, **at)).count());
        kernel(|k| k.owed = full.sum::<usize>() as u64);
    });
    if let Some(world) = world {
        world.distrust();
        world.play(script);
    }
}

/// A ledger in use whose bytes change. The input: how many tokens are in the pool, and what happens.
pub fn broken_ledger(data: &[u8]) {
    let [tokens, script @ ..] = data else { return };
    if let Some(world) = World::new(&TOKENS[..usize::from(tokens % 5)], |_| ()) {
        world.play(script);
    }
}

fn is_full(record: &[u8], at: usize) -> bool {
    let word = record.get(at..at + 8).and_then(|b| b.try_into().ok());
    word.is_some_and(|word| Token(u64::from_le_bytes(word)).byte().is_some())
}

fn write(memory: &Memory, at: usize, bytes: &[u8]) {
    for (i, byte) in bytes.iter().enumerate() {
        // SAFETY: within the ledger, which nobody else uses yet.
        unsafe { memory.address().wrapping_add(at + i).write(*byte) };
    }
}
