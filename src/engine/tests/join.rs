//! Words and descriptors from which a pool is found.

use proptest::prelude::*;

use crate::join::end::End;
use crate::join::word::{count, decode, encode};
use crate::join::{find, Found, Problem, Settings};
use crate::pool::pipe;
use crate::pool::tokens::Pool;
use crate::sys;
use crate::text::Path;

fn by_word(word: &str) -> Found {
    find(Settings { makeflags: Some(word.as_bytes()), ..Settings::default() })
}

#[test]
fn a_live_pipe_is_joined_through_an_own_description() {
    let [r, w] = sys::pipe2(libc::O_CLOEXEC).unwrap();
    let Found::Pool(pool, load) = by_word(&format!(" -j3 -l2.5 --jobserver-auth={r},{w}")) else {
        panic!("not found");
    };
    assert_eq!(load, 2500);
    assert_eq!(pool.pollable().map(|fd| pipe::is(fd, pool.id)), Some(true));
    assert_eq!(sys::fcntl(r, libc::F_GETFL, 0).unwrap() & libc::O_NONBLOCK, 0);
    pool.close();
    sys::close(r);
    sys::close(w);
}

#[test]
fn a_pipe_that_came_later_is_not_the_pool() {
    let [r, w] = sys::pipe2(libc::O_CLOEXEC).unwrap();
    let word = format!(" --jobserver-auth={r},{w}");
    let find =
        |end| find(Settings { makeflags: Some(word.as_bytes()), end, ..Settings::default() });
    assert!(matches!(find(End::of(r)), Found::Pool(..)));
    assert!(matches!(find(End::None), Found::Unusable(Problem::Closed)));
    sys::close(r);
    sys::close(w);
}

#[test]
fn what_is_no_pool_is_refused() {
    let file = sys::open(c"/dev/null", libc::O_RDWR, 0).unwrap();
    let problem = |word: &str| match by_word(word) {
        Found::Unusable(p) => p,
        _ => panic!("{word}"),
    };
    assert_eq!(problem(&format!(" --jobserver-auth={file},{file}")), Problem::NoPipe);
    sys::close(file);
    assert_eq!(problem(" --jobserver-auth=-2,-2"), Problem::Closed);
    assert_eq!(problem(" --jobserver-auth=911,912"), Problem::Closed);
    assert_eq!(problem(" --jobserver-auth=what"), Problem::Malformed);
    assert_eq!(problem(" --jobserver-auth=fifo:/nonexistent"), Problem::Fifo(libc::ENOENT));
    assert_eq!(problem(" --jobserver-auth=fifo:/etc/passwd"), Problem::NoPipe);
    assert!(matches!(by_word("k"), Found::None));
}

proptest! {
    #[test]
    fn the_private_word_round_trips(dev: u64, ino: u64, birth: u64, path in "/[!-~]{1,200}") {
        let pool = Pool::new((dev, ino, birth), Path::new(path.as_bytes()), None);
        let (id, back) = decode(encode(&pool).bytes()).unwrap();
        prop_assert_eq!(id, pool.id);
        prop_assert_eq!(back.bytes(), path.as_bytes());
    }

    #[test]
    fn any_word_is_survived(word in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = decode(&word);
        let _ = count(&word);
    }
}
