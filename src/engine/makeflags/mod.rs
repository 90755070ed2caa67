//! Reading and writing MAKEFLAGS.
//!
//! # The grammar
//!
//! A make hands its options to its sub-makes in one environment variable, and a sub-make reads it
//! like a command line (make's `main.c`, `decode_env_switches` and `decode_switches`):
//!
//! 1. The value is split at unescaped blanks (space, tab) into words; then `\c` stands for `c`. So
//!    a word keeps its meaning however it was escaped, and ` -- ` inside `A=x\ --\ y` is no word.
//! 2. A first word without a leading `-` and without a `=` gets a `-`: `kn` means `-kn`. make
//!    writes its argument-less letters there, or a leading blank when there are none.
//! 3. getopt_long takes the words in order. A *cluster* `-kj4` is a run of letters, of which the
//!    first that can take an argument ends the run: the rest of the word is its argument, or, if
//!    nothing is left, the next word. `--name` may be abbreviated as long as that is unique. Words
//!    that are no options are definitions or ignored, as is the lone `-` that make 3.81 writes.
//! 4. A bare `--` ends the options. What follows are definitions, whatever they look like.
//!
//! So a word holds some letters and at most one option with an argument, and may take one more word with it. That is a
//! `Piece`. The reader examines the pieces, and the writer copies all pieces but the jobserver's own; the two agree
//! because both see the same pieces.
//!
//! make also expands `$` before step 1. That is not done here: make 4.4 exports the path of its
//! fifo with a bare `$`, and no definition matters to a client.
//!
//! | module | one idea |
//! |---|---|
//! | `words` | the value as words and pieces |
//! | `options` | make's options: names, and which of them take an argument |
//! | `values` | parsing the arguments |
//! | `auth`, `read` | what a client needs |
//! | `write` | writing the value |

mod auth;
mod options;
mod read;
#[cfg(test)]
mod tests;
mod values;
mod words;
mod write;

pub use auth::{Auth, RawPath};
pub use read::{parse, MakeFlags};
pub use write::{write, Letters, Names, Out, WriteAuth};
