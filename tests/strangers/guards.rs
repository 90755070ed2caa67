//! The guard is nobody's child, and ends when there is nothing left to look after.

use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![]
}
