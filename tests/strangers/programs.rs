//! The program that runs is the one that was asked for, with the arguments that it was given.

use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![]
}
