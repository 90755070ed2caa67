//! What a sleeping thread waits for, derived from its system call or from the kernel function in which it sleeps. Pure.

use crate::text::{hex, number};

/// What a thread waits for, as far as its system call tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Something that needs no other process of ours, or is unknown.
    Work,
    /// Children, signals, locks, other threads of its own: whatever it waits for is judged itself.
    Neutral,
    /// As [`Wait::Neutral`] or for the clock alone, with a time-out.
    Timed,
    /// Another process, through shared memory or a message queue.
    Ipc,
    /// Up to two descriptors; -1 is none.
    On([i32; 2]),
    /// poll(2): address and length of the array; whether there is a time-out.
    Poll(u64, u64, bool),
    /// select(2): number of bits, addresses of the three sets; whether there is a time-out.
    Select(u64, [u64; 3], bool),
    /// epoll(7): the descriptor; whether there is a time-out.
    Epoll(i32, bool),
    /// One of its descriptors of this kind; only the kernel knows which.
    Any(Kind),
    /// It may wait for another process.
    Vague,
    /// The call does not tell; the kernel function in which it sleeps might.
    AskKernel,
}

/// Kinds of descriptors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Pipes and fifos.
    Pipe,
    /// Sockets.
    Socket,
    /// All of them.
    Any,
}

/// Parses `/proc/PID/task/TID/syscall` (proc(5)): the number, six arguments, stack and program counter. Returns None if
/// the thread is in no call, or the numbers are those of a 32-bit program.
pub fn parse_call(line: &[u8]) -> Option<(i64, [u64; 6])> {
    let mut words = line.trim_ascii().split(|b| *b == b' ');
    let (call, rest) = number(words.next()?)?;
    let mut argument = || Some(hex(words.next()?.strip_prefix(b"0x")?)?.0);
    let mut arguments = [0; 6];
    for at in &mut arguments {
        *at = argument()?;
    }
    let stack = argument()?;
    (rest.is_empty() && call >= 0 && stack > u64::from(u32::MAX)).then_some((call, arguments))
}

/// What a thread that sleeps in this call waits for.
pub fn of_call(call: i64, arguments: [u64; 6]) -> Wait {
    let [a, b, c, d, e, _] = arguments;
    let fd = a as i32;
    match call {
        libc::SYS_read
        | libc::SYS_readv
        | libc::SYS_pread64
        | libc::SYS_preadv
        | libc::SYS_preadv2
        | libc::SYS_write
        | libc::SYS_writev
        | libc::SYS_pwrite64
        | libc::SYS_pwritev
        | libc::SYS_pwritev2
        | libc::SYS_vmsplice
        | libc::SYS_recvfrom
        | libc::SYS_recvmsg
        | libc::SYS_recvmmsg
        | libc::SYS_sendto
        | libc::SYS_sendmsg
        | libc::SYS_sendmmsg
        | libc::SYS_accept
        | libc::SYS_accept4
        | libc::SYS_connect => Wait::On([fd, -1]),
        libc::SYS_splice => Wait::On([fd, c as i32]),
        libc::SYS_tee | libc::SYS_sendfile => Wait::On([fd, b as i32]),
        libc::SYS_wait4 | libc::SYS_waitid | libc::SYS_rt_sigsuspend | libc::SYS_flock => {
            Wait::Neutral
        }
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => Wait::Timed,
        libc::SYS_rt_sigtimedwait => until(c != 0),
        libc::SYS_fcntl => match b as i32 {
            libc::F_SETLKW | libc::F_OFD_SETLKW => Wait::Neutral,
            _ => Wait::Work,
        },
        libc::SYS_futex => of_futex(b, d != 0),
        libc::SYS_msgrcv
        | libc::SYS_msgsnd
        | libc::SYS_semop
        | libc::SYS_semtimedop
        | libc::SYS_mq_timedreceive
        | libc::SYS_mq_timedsend => Wait::Ipc,
        libc::SYS_ppoll => Wait::Poll(a, b, c != 0),
        libc::SYS_pselect6 => Wait::Select(a, [b, c, d], e != 0),
        libc::SYS_epoll_pwait => Wait::Epoll(fd, d as i32 >= 0),
        libc::SYS_epoll_pwait2 => Wait::Epoll(fd, d != 0),
        // For a fifo the other end, for a file the disk; or a call that a signal has interrupted.
        libc::SYS_openat | libc::SYS_restart_syscall => Wait::AskKernel,
        _ => of_old_call(call, arguments),
    }
}

/// Calls that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
fn of_old_call(call: i64, [a, b, c, d, e, _]: [u64; 6]) -> Wait {
    match call {
        libc::SYS_poll => Wait::Poll(a, b, c as i32 >= 0),
        libc::SYS_select => Wait::Select(a, [b, c, d], e != 0),
        libc::SYS_epoll_wait => Wait::Epoll(a as i32, d as i32 >= 0),
        libc::SYS_pause => Wait::Neutral,
        libc::SYS_open => Wait::AskKernel,
        _ => Wait::Work,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn of_old_call(_: i64, _: [u64; 6]) -> Wait {
    Wait::Work
}

fn until(timed: bool) -> Wait {
    if timed {
        Wait::Timed
    } else {
        Wait::Neutral
    }
}

/// A private futex is used between the threads of one process.
fn of_futex(operation: u64, timed: bool) -> Wait {
    let operation = operation as i32;
    if operation & libc::FUTEX_PRIVATE_FLAG == 0 {
        return Wait::Ipc;
    }
    until(timed)
}

/// What a thread that sleeps in this kernel function waits for (`/proc/PID/task/TID/wchan`). It does not tell whether a
/// futex is shared or a poll has a time-out. `alone`: it is the only thread.
pub fn of_place(place: &[u8], alone: bool) -> Wait {
    let is = |word: &[u8]| place.windows(word.len()).any(|w| w == word);
    let any = |words: &[&[u8]]| words.iter().any(|word| is(word));
    match place.trim_ascii() {
        b"" | b"0" => return Wait::Vague,
        _ => {}
    }
    // Checked first, since newer kernels have a futex_do_wait.
    if is(b"futex") {
        if alone {
            Wait::Ipc
        } else {
            Wait::Vague
        }
    } else if any(&[b"do_wait", b"kernel_wait", b"sigsuspend", b"sigtimedwait", b"pause", b"flock"])
        || any(&[b"lock_inode_wait", b"fcntl_setlk", b"do_lock_file_wait"])
    {
        Wait::Neutral
    } else if any(&[b"wait_for_partner", b"fifo_open"]) {
        Wait::Vague
    } else if is(b"pipe_") {
        Wait::Any(Kind::Pipe)
    } else if any(&[
        b"unix_",
        b"skb_wait",
        b"sk_wait",
        b"inet_csk",
        b"tcp_",
        b"wait_woken",
        b"sock_alloc",
    ]) {
        Wait::Any(Kind::Socket)
    } else if any(&[b"do_poll", b"poll_schedule", b"do_sys_poll", b"do_select", b"ep_poll"]) {
        Wait::Any(Kind::Any)
    } else if any(&[b"do_msg", b"do_sem", b"mq_", b"wq_sleep"]) {
        Wait::Ipc
    } else if is(b"nanosleep") {
        Wait::Timed
    } else {
        Wait::Work
    }
}

/// An address in /proc/net/tcp or tcp6: IP address (IPv4 mapped to IPv6) and port.
pub type Address = (u128, u64);

/// A line of /proc/net/tcp or tcp6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tcp {
    /// This end.
    pub local: Address,
    /// The other end.
    pub remote: Address,
    /// Whether it is a listening socket.
    pub listens: bool,
    /// The socket's inode; 0 if no process has it open (any more, or yet).
    pub inode: u64,
}

/// Parses such a line. Returns None for the heading.
pub fn parse_tcp(line: &[u8]) -> Option<Tcp> {
    let mut words = line.split(|b| *b == b' ').filter(|w| !w.is_empty()).skip(1);
    let local = address(words.next()?)?;
    let remote = address(words.next()?)?;
    let listens = words.next()? == b"0A";
    let (inode, _) = number(words.nth(5)?)?;
    Some(Tcp { local, remote, listens, inode: u64::try_from(inode).ok()? })
}

fn address(word: &[u8]) -> Option<Address> {
    let at = word.iter().position(|b| *b == b':')?;
    let (ip, port) = word.split_at_checked(at)?;
    let mut value = match ip.len() {
        8 => 0xffff_0000,
        32 => 0,
        _ => return None,
    };
    for part in ip.chunks(8) {
        value = value << 32 | u128::from(hex(part)?.0);
    }
    Some((value, hex(port.strip_prefix(b":")?)?.0))
}

/// Parses the descriptor in a line of an epoll descriptor's fdinfo: `tfd:  5 events: …`.
pub fn parse_watched(line: &[u8]) -> Option<i32> {
    i32::try_from(number(line.strip_prefix(b"tfd:")?.trim_ascii_start())?.0).ok()
}

/// Parses `pipe:[123]`; `word` is the first word.
pub fn parse_inode(link: &[u8], word: &[u8]) -> Option<u64> {
    let (inode, rest) = number(link.strip_prefix(word)?.strip_prefix(b":[")?)?;
    u64::try_from(inode).ok().filter(|_| rest == b"]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_call_is_read() {
        let line = b"0 0x3 0x7ffc00000000 0x400 0x0 0x0 0x0 0x7ffca7d0a3e8 0x7ff5705cb503\n";
        let (call, arguments) = parse_call(line).unwrap();
        assert_eq!((call, arguments[0], arguments[2]), (0, 3, 0x400));
        assert_eq!(parse_call(b"running\n"), None);
        assert_eq!(parse_call(b"-1 0x7ffca7d0a3e8 0x7ff5705cb503\n"), None);
        let of_32_bits = b"3 0x0 0x1 0x2 0x0 0x0 0x0 0xffe0a3e8 0xf7f05549\n";
        assert_eq!(parse_call(of_32_bits), None);
    }

    #[test]
    fn calls_are_told_apart() {
        let of = |call, arguments| of_call(call, arguments);
        assert_eq!(of(libc::SYS_read, [7, 0, 0, 0, 0, 0]), Wait::On([7, -1]));
        assert_eq!(of(libc::SYS_splice, [7, 0, 8, 0, 0, 0]), Wait::On([7, 8]));
        assert_eq!(of(libc::SYS_wait4, [0; 6]), Wait::Neutral);
        assert_eq!(of(libc::SYS_clock_nanosleep, [0; 6]), Wait::Timed);
        assert_eq!(of(libc::SYS_nanosleep, [0; 6]), Wait::Timed);
        assert_eq!(of(libc::SYS_fcntl, [3, libc::F_SETLKW as u64, 0, 0, 0, 0]), Wait::Neutral);
        assert_eq!(of(libc::SYS_fcntl, [3, libc::F_SETLEASE as u64, 0, 0, 0, 0]), Wait::Work);
        assert_eq!(of(libc::SYS_ppoll, [9, 2, 0, 0, 0, 0]), Wait::Poll(9, 2, false));
        assert_eq!(of(libc::SYS_ppoll, [9, 2, 8, 0, 0, 0]), Wait::Poll(9, 2, true));
        let forever = u64::from(u32::MAX);
        assert_eq!(of(libc::SYS_epoll_pwait, [4, 0, 0, forever, 0, 0]), Wait::Epoll(4, false));
        assert_eq!(of(libc::SYS_epoll_pwait, [4, 0, 0, 100, 0, 0]), Wait::Epoll(4, true));
        assert_eq!(of(libc::SYS_fsync, [0; 6]), Wait::Work);
    }

    #[test]
    fn a_shared_futex_is_another_process_and_a_private_one_is_not() {
        let wait = |operation: i32, timeout| {
            of_call(libc::SYS_futex, [1, operation as u64, 0, timeout, 0, 0])
        };
        let private =
            libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME;
        assert_eq!(wait(libc::FUTEX_WAIT, 0), Wait::Ipc);
        assert_eq!(wait(libc::FUTEX_WAIT_BITSET | libc::FUTEX_CLOCK_REALTIME, 8), Wait::Ipc);
        assert_eq!(wait(private, 0), Wait::Neutral);
        assert_eq!(wait(private, 8), Wait::Timed);
    }

    #[test]
    fn places_in_the_kernel() {
        let alone = |place: &str| of_place(place.as_bytes(), true);
        for place in ["pipe_read", "anon_pipe_write", "pipe_wait"] {
            assert_eq!(alone(place), Wait::Any(Kind::Pipe), "{place}");
        }
        for place in ["request_wait_answer", "n_tty_read", "folio_wait_bit_common"] {
            assert_eq!(alone(place), Wait::Work, "{place}");
        }
        for place in ["hrtimer_nanosleep", "do_nanosleep"] {
            assert_eq!(alone(place), Wait::Timed, "{place}");
        }
        for place in ["unix_stream_read_generic", "sk_wait_data", "inet_csk_accept"] {
            assert_eq!(alone(place), Wait::Any(Kind::Socket), "{place}");
        }
        assert_eq!(alone("do_wait"), Wait::Neutral);
        assert_eq!(alone("ep_poll"), Wait::Any(Kind::Any));
        assert_eq!(alone("wait_for_partner"), Wait::Vague);
        assert_eq!(alone("0"), Wait::Vague);
        assert_eq!(alone("futex_wait_queue"), Wait::Ipc);
        assert_eq!(alone("futex_do_wait"), Wait::Ipc);
        assert_eq!(of_place(b"futex_wait_queue", false), Wait::Vague);
    }

    #[test]
    fn connections_are_read() {
        let heading =
            b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid";
        assert_eq!(parse_tcp(heading), None);
        let line = b"   1: 0100007F:1F90 0200007F:C000 01 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 20 4 30 10 -1";
        let mapped = b"   1: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000200007F:C000 01 00000000:00000000 00:00000000 00000000  1000        0 4242 1";
        let tcp = parse_tcp(line).unwrap();
        assert_eq!((tcp.local.1, tcp.remote.1, tcp.inode, tcp.listens), (8080, 49152, 4242, false));
        assert_ne!(tcp.local.0, tcp.remote.0);
        assert_eq!(parse_tcp(mapped), Some(tcp));
    }

    #[test]
    fn descriptors_are_read() {
        assert_eq!(parse_inode(b"pipe:[123]", b"pipe"), Some(123));
        assert_eq!(parse_inode(b"pipe:[123", b"pipe"), None);
        assert_eq!(parse_inode(b"socket:[9]", b"pipe"), None);
        assert_eq!(parse_watched(b"tfd:       12 events:       19 data: 0"), Some(12));
        assert_eq!(parse_watched(b"pos:\t0"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_call(&line);
            let _ = parse_tcp(&line);
            let _ = parse_watched(&line);
            let _ = parse_inode(&line, b"pipe");
            let _ = of_place(&line, true);
        }

        #[test]
        fn any_call_is_judged(call: i64, arguments: [u64; 6]) {
            let line = format!("{call} {}0x7ffc00000000 0x1\n", arguments.map(|a| format!("{a:#x} ")).concat());
            let read = parse_call(line.as_bytes());
            prop_assert_eq!(read, (call >= 0).then_some((call, arguments)));
            let _ = of_call(call, arguments);
        }

        #[test]
        fn connections_round_trip(l: u32, lp: u16, r: u32, rp: u16, st in 1u8..12, inode: u32) {
            let line = format!("  7: {l:08X}:{lp:04X} {r:08X}:{rp:04X} {st:02X} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1");
            let tcp = parse_tcp(line.as_bytes()).unwrap();
            prop_assert_eq!((tcp.local.0 as u32, tcp.remote.0 as u32), (l, r));
            prop_assert_eq!((tcp.local.1, tcp.remote.1), (lp.into(), rp.into()));
            prop_assert_eq!((tcp.inode, tcp.listens), (inode.into(), st == 10));
        }
    }
}
