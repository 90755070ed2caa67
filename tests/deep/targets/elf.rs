//! The files that are to be executed: any content is judged, and nothing outside of it is read.

use std::sync::Arc;

use crate::kernel::{self, kernel, Node};
use crate::program::target::{self, Kind};

/// The input is the content of `/program`, which may name itself as its interpreter.
pub fn run(data: &[u8]) {
    kernel::boot();
    let pid = kernel(|k| {
        let data: Arc<[u8]> = data.into();
        k.files.insert(b"/program".to_vec(), Node::Data(data));
        k.files.insert(b"/bin/sh".to_vec(), Node::Data(Arc::from(*b"exit 0\n")));
        k.files.insert(b"/lib64/ld-linux-x86-64.so.2".to_vec(), Node::Data(Arc::from([])));
        k.spawn(1)
    });
    kernel::run_as(pid, || {
        let found = target::foretell(c"/program");
        match data {
            [0x7f, b'E', b'L', b'F', ..] => assert_ne!(found, Ok(Kind::Text)),
            [b'#', b'!', ..] => assert!(!matches!(found, Ok(Kind::Dynamic | Kind::Static))),
            _ => assert!(!matches!(found, Ok(Kind::Dynamic | Kind::Static | Kind::Foreign))),
        }
        assert!(kernel(|k| k.processes[&pid].fds.is_empty()), "a descriptor stays open");
    });
}
