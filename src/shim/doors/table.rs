// Every door, one entry each: KIND [NAMES] (ARGUMENTS) -> RESULT, then how.
//
// `= [BODY]`   the hook is made here; BODY gets the function behind it first
// `=> [BODY]`  the hook is made here; it calls another door
// `= asm`      the hook is in `asm_*`, and needs the function behind it
// `=> asm`     the hook is in `asm_*`
//
// The reader defines the macro: the library makes hooks of it, the tests a list.
doors! {
    spawn [posix_spawn, posix_spawnp] (
        pid: *mut c_int,
        path: *const c_char,
        actions: *const c_void,
        attributes: *const c_void,
        argv: Strings,
        envp: Strings
    ) -> c_int, = asm;
    spawn [pidfd_spawn] (
        pidfd: *mut c_int,
        path: *const c_char,
        actions: *const c_void,
        attributes: *const c_void,
        argv: Strings,
        envp: Strings
    ) -> ErrorNumber, = [spawn::pidfd_spawn];
    spawn [pidfd_spawnp] (
        pidfd: *mut c_int,
        path: *const c_char,
        actions: *const c_void,
        attributes: *const c_void,
        argv: Strings,
        envp: Strings
    ) -> ErrorNumber, = [spawn::pidfd_spawnp];
    spawn [fork, _Fork] () -> c_int, = asm;
    spawn [__fork] () -> c_int, => asm;
    spawn [vfork, __vfork] () -> c_int, => asm;
    spawn [forkpty] (
        master: *mut c_int,
        name: *mut c_char,
        mode: *const c_void,
        size: *const c_void
    ) -> c_int, = [fork::forkpty];
    spawn [daemon] (nochdir: c_int, noclose: c_int) -> c_int, = [fork::daemon];
    spawn [clone, __clone] (
        run: Run,
        stack: *mut c_void,
        flags: c_int,
        argument: *mut c_void,
        parent_tid: *mut c_void,
        tls: *mut c_void,
        child_tid: *mut c_void
    ) -> c_int, = [fork::clone];
    spawn [system] (command: *const c_char) -> c_int, = [stdio::system];
    spawn [popen, _IO_popen] (command: *const c_char, mode: *const c_char) -> *mut c_void, = [stdio::popen];
    spawn [wordexp] (
        words: *const c_char,
        expansion: *mut c_void,
        flags: c_int
    ) -> c_int, = [stdio::wordexp];

    reap [wait, __wait] (status: *mut c_int) -> c_int, = [reap::wait];
    reap [waitpid, __waitpid] (
        pid: c_int,
        status: *mut c_int,
        options: c_int
    ) -> c_int, = [reap::waitpid];
    reap [wait3] (
        status: *mut c_int,
        options: c_int,
        usage: *mut c_void
    ) -> c_int, = [reap::wait3];
    reap [wait4] (
        pid: c_int,
        status: *mut c_int,
        options: c_int,
        usage: *mut c_void
    ) -> c_int, = [reap::wait4];
    reap [waitid] (
        kind: libc::idtype_t,
        id: libc::id_t,
        info: *mut libc::siginfo_t,
        options: c_int
    ) -> c_int, = [reap::waitid];
    reap [pclose] (stream: *mut c_void) -> c_int, = [stdio::pclose];
    reap [fclose] (stream: *mut c_void) -> c_int, = [stdio::fclose];

    exec [execve] (path: *const c_char, argv: Strings, envp: Strings) -> c_int, = [exec::execve];
    exec [execvpe] (file: *const c_char, argv: Strings, envp: Strings) -> c_int, = [exec::execvpe];
    exec [execv] (path: *const c_char, argv: Strings) -> c_int, => [exec::execv];
    exec [execvp] (file: *const c_char, argv: Strings) -> c_int, => [exec::execvp];
    exec [execl, execle, execlp] () -> c_int, => asm;
    exec [execveat] (
        dir: c_int,
        path: *const c_char,
        argv: Strings,
        envp: Strings,
        flags: c_int
    ) -> c_int, = [exec::execveat];
    exec [fexecve] (fd: c_int, argv: Strings, envp: Strings) -> c_int, = [exec::fexecve];

    block [read] (fd: c_int, to: *mut c_void, len: usize) -> isize, = [block::read];
    block [readv] (fd: c_int, to: *const c_void, count: c_int) -> isize, = [block::read];
    block [recv] (fd: c_int, to: *mut c_void, len: usize, flags: c_int) -> isize, = [block::recv];
    block [recvfrom] (
        fd: c_int,
        to: *mut c_void,
        len: usize,
        flags: c_int,
        address: *mut c_void,
        size: *mut c_void
    ) -> isize, = [block::recvfrom];
    block [recvmsg] (fd: c_int, message: *mut c_void, flags: c_int) -> isize, = [block::recvmsg];
    block [accept] (fd: c_int, address: *mut c_void, size: *mut c_void) -> c_int, = [block::accept];
    block [accept4] (
        fd: c_int,
        address: *mut c_void,
        size: *mut c_void,
        flags: c_int
    ) -> c_int, = [block::accept4];
    block [poll] (fds: *mut c_void, count: c_ulong, millis: c_int) -> c_int, = [block::poll];
    block [ppoll] (
        fds: *mut c_void,
        count: c_ulong,
        time: *const c_void,
        mask: *const c_void
    ) -> c_int, = [block::ppoll];
    block [select] (
        count: c_int,
        reads: *mut c_void,
        writes: *mut c_void,
        others: *mut c_void,
        time: *mut c_void
    ) -> c_int, = [block::select];
    block [pselect] (
        count: c_int,
        reads: *mut c_void,
        writes: *mut c_void,
        others: *mut c_void,
        time: *const c_void,
        mask: *const c_void
    ) -> c_int, = [block::pselect];
    block [epoll_wait] (
        fd: c_int,
        events: *mut c_void,
        count: c_int,
        millis: c_int
    ) -> c_int, = [block::epoll_wait];
    block [epoll_pwait] (
        fd: c_int,
        events: *mut c_void,
        count: c_int,
        millis: c_int,
        mask: *const c_void
    ) -> c_int, = [block::epoll_pwait];
    block [sem_wait] (semaphore: *mut c_void) -> c_int, = [block::one];
    block [sem_timedwait] (semaphore: *mut c_void, time: *const c_void) -> c_int, = [block::two];
    block [sem_clockwait] (
        semaphore: *mut c_void,
        clock: c_int,
        time: *const c_void
    ) -> c_int, = [block::three];
    block [pthread_cond_wait] (
        condition: *mut c_void,
        mutex: *mut c_void
    ) -> ErrorNumber, = [block::two];
    block [pthread_cond_timedwait] (
        condition: *mut c_void,
        mutex: *mut c_void,
        time: *const c_void
    ) -> ErrorNumber, = [block::three];
    block [pthread_cond_clockwait] (
        condition: *mut c_void,
        mutex: *mut c_void,
        clock: c_int,
        time: *const c_void
    ) -> ErrorNumber, = [block::four];

    exit [_exit, _Exit] (status: c_int) -> Never, = [exit::leave];
    exit [quick_exit] (status: c_int) -> Never, = [exit::leave];
}
