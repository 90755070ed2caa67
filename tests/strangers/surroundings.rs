//! Privileges, filters, other C libraries, missing or broken parts of the system.

use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![]
}
