//! What /proc says: the line of /proc/PID/stat, a list of descriptors, an environment.

use crate::kernel::{self, kernel, Node};
use crate::proc;
use crate::text::Path;

/// The input is the content of each of the three.
pub fn run(data: &[u8]) {
    if let Some(stat) = proc::parse_stat(data) {
        let after = data.iter().rposition(|b| *b == b')').expect("the end of the name");
        assert_eq!(data.get(after + 2), Some(&stat.state), "the state stands behind the name");
    }
    kernel::boot();
    let pid = kernel(|k| {
        k.files.insert(b"/proc/7/stat".to_vec(), Node::Data(data.into()));
        k.files.insert(b"/proc/7/fd".to_vec(), Node::Folder(data.into()));
        k.files.insert(b"/proc/7/environ".to_vec(), Node::Data(data.into()));
        k.spawn(7)
    });
    kernel::run_as(pid, || {
        assert_eq!(proc::stat(7), proc::parse_stat(&data[..data.len().min(512)]));
        let mut found = 0;
        assert!(proc::each_fd(7, |_| found += 1), "it can be listed");
        assert!(found <= data.len(), "more descriptors than bytes");
        let mut words = Vec::new();
        proc::each_word(&Path::new(b"/proc/7/environ"), |word| words.push(word.to_vec()));
        let wanted: Vec<_> = data.split(|b| *b == 0).collect();
        assert_eq!(words.len(), wanted.len() - 1, "words");
        assert!(words.iter().zip(&wanted).all(|(w, all)| all.starts_with(w)), "their text");
        assert!(proc::ancestors().count() <= 64);
    });
}
