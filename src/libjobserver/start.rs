//! Starting jobs: jobserver_launch_job(3), jobserver_run(3).

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

use jsshim_engine::serve::{
    obtain, run, starting, Host, Job, Jobs, Masked, Next, Outcome, Server, Until, Work,
};
use jsshim_engine::sys::{Errno, Result};

use crate::heap::List;
use crate::instance::{answer, Instance, Jobserver};
use crate::job::{self, Done, Func, Tag};

/// jobserver_launch_job(3).
///
/// # Safety
/// `js` must be an instance that the library has filled in; the callbacks must be what they say.
#[no_mangle]
pub unsafe extern "C" fn jobserver_launch_job(
    js: *mut Jobserver,
    wait: c_int,
    shared: u8,
    data: *mut c_void,
    func: Func,
    done: Done,
) -> c_int {
    let mut masked = Masked::new();
    // SAFETY: by the contract.
    let begun = unsafe { Instance::begin(js, &masked) };
    answer(begun.and_then(|mut instance| {
        let tag = Tag { done, data };
        let started = launch(&mut instance, &mut masked, wait, shared != 0, func, tag);
        instance.done();
        started.map(|()| 0)
    }))
}

fn launch(
    instance: &mut Instance,
    masked: &mut Masked,
    wait: c_int,
    shared: bool,
    func: Func,
    tag: Tag,
) -> Result<()> {
    let slot = obtain(instance, masked, Until::millis(wait)).map_err(|s| instance.stopped(s))?;
    // Behind the callbacks, which may have started jobs, too.
    let reserved = instance.server().jobs.reserve();
    let pid = reserved.and_then(|()| {
        let ends = ends(instance, shared);
        starting(|| job::fork(func, tag.data, ends))
    });
    let server = instance.server();
    match pid {
        Ok(pid) => server.jobs.add(Job { pid, slot, tag }),
        Err(e) => {
            server.put(slot);
            return Err(e);
        }
    }
    Ok(())
}

/// The descriptors that a job closes, even if it executes nothing: the internal ones, and if the pool is not
/// shared with it, the announced ones.
fn ends(instance: &mut Instance, shared: bool) -> [c_int; 4] {
    let server = instance.server();
    let (own, tokens) = (server.own_fds(), &server.tokens);
    let [wake, pool] = own;
    if shared {
        [wake, pool, -1, -1]
    } else {
        [wake, pool, tokens.read, tokens.write]
    }
}

/// `struct jobserver_task`
#[repr(C)]
pub struct Task {
    shared: u8,
    data: *mut c_void,
    func: Func,
    done: Done,
}

/// `jobserver_next_t`
type Asked = Option<unsafe extern "C" fn(*mut c_void, *mut Task) -> c_int>;

/// jobserver_run(3).
///
/// # Safety
/// `js` must be an instance that the library has filled in; the callbacks must be what they say.
#[no_mangle]
pub unsafe extern "C" fn jobserver_run(
    js: *mut Jobserver,
    next: Asked,
    context: *mut c_void,
) -> c_int {
    let masked = Masked::new();
    // SAFETY: by the contract.
    let (begun, dry) = unsafe { (Instance::begin(js, &masked), (*js).dry_run != 0) };
    drop(masked);
    answer(begun.and_then(|instance| {
        let mut queue = Queue { instance, next, context };
        let outcome = if dry { Ok(Outcome::Done) } else { run(&mut queue) };
        queue.instance.done();
        outcome.map(|outcome| match outcome {
            Outcome::Done => 0,
            Outcome::Quit(signal) => signal,
        })
    }))
}

/// The program's queue.
struct Queue {
    instance: Instance,
    next: Asked,
    context: *mut c_void,
}

impl Queue {
    fn ask(&mut self, task: *mut Task) -> Next {
        let Some(next) = self.next else { return Next::Nothing };
        self.instance.show();
        // SAFETY: what the program has asked for.
        match unsafe { next(self.context, task) } {
            0 => Next::Nothing,
            1 => Next::Ready,
            _ => Next::Later,
        }
    }
}

impl Host for Queue {
    type Jobs = List;

    fn server(&mut self) -> &mut Server<List> {
        self.instance.server()
    }

    fn ended(&mut self, tag: Tag, status: c_int) {
        self.instance.ended(tag, status);
    }
}

impl Work for Queue {
    fn next(&mut self) -> Next {
        self.ask(null_mut())
    }

    fn start(&mut self) -> Result<(c_int, Tag)> {
        let mut task = Task { shared: 0, data: null_mut(), func: None, done: None };
        if self.ask(&raw mut task) != Next::Ready {
            return Err(Errno::INVAL);
        }
        let ends = ends(&mut self.instance, task.shared != 0);
        let pid = job::fork(task.func, task.data, ends)?;
        Ok((pid, Tag { done: task.done, data: task.data }))
    }
}
