//! A stranger's pipe is never taken for the pool, and our pool is in nobody's way.

use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![]
}
