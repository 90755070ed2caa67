//! Processes of other PID and user namespaces.

use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![]
}
