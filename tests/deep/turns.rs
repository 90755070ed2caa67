//! Threads that take turns: one for each process that may have to wait, and only one of all runs.

use std::cell::RefCell;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize};
use std::sync::{mpsc, Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::kernel::Kernel;

enum Turn<R> {
    Starter,
    Other,
    Over(thread::Result<R>),
}

/// Both sides of a change of turns.
struct Baton<R> {
    turn: Mutex<Turn<R>>,
    changed: Condvar,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R> Baton<R> {
    fn pass(&self, to: Turn<R>) {
        *lock(&self.turn) = to;
        self.changed.notify_all();
    }

    fn wait(&self, mine: impl Fn(&Turn<R>) -> bool) {
        let turn = lock(&self.turn);
        drop(self.changed.wait_while(turn, |turn| !mine(turn)));
    }
}

/// The process that is to be killed, and at which of its steps.
#[derive(Default)]
pub struct Doom {
    pub pid: AtomicI32,
    pub steps: AtomicU32,
    /// Where the ledger is.
    pub ledger: AtomicUsize,
    /// The steps of all.
    pub total: AtomicU32,
}

/// What the threads of one world share.
#[derive(Default)]
struct World {
    kernel: Mutex<Kernel>,
    doom: Doom,
}

thread_local! {
    static WORLD: RefCell<Arc<World>> = RefCell::default();
    static PAUSE: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
    /// The workers of this thread that have nothing to do.
    static IDLE: RefCell<Vec<Worker>> = const { RefCell::new(Vec::new()) };
}

/// Looks into the kernel of this thread and of all that it has started.
pub fn with_kernel<R>(f: impl FnOnce(&mut Kernel) -> R) -> R {
    let world = WORLD.with(|w| w.borrow().clone());
    let result = f(&mut lock(&world.kernel));
    result
}

pub fn with_doom<R>(f: impl FnOnce(&Doom) -> R) -> R {
    WORLD.with(|w| f(&w.borrow().doom))
}

pub fn may_pause() -> bool {
    PAUSE.with(|pause| pause.borrow().is_some())
}

/// The turn goes back to whoever gave it.
pub fn pause() {
    PAUSE.with(|pause| match &*pause.borrow() {
        Some(pause) => pause(),
        None => panic!("this process must not wait"),
    });
}

type Task = Box<dyn FnOnce() + Send>;

/// A thread that does one task after another: to make one anew for each costs more than what is tested.
struct Worker {
    tasks: Option<mpsc::Sender<Task>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Worker {
    fn new() -> Self {
        let (tasks, all) = mpsc::channel::<Task>();
        let thread = thread::spawn(move || all.into_iter().for_each(|task| task()));
        Self { tasks: Some(tasks), thread: Some(thread) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.tasks = None;
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}

/// What goes on in a thread of its own, step by step.
pub struct Other<R> {
    baton: Arc<Baton<R>>,
    worker: Option<Worker>,
}

impl<R: Send + 'static> Other<R> {
    pub fn new(f: impl FnOnce() -> R + Send + 'static) -> Self {
        let baton = Arc::new(Baton { turn: Mutex::new(Turn::Starter), changed: Condvar::new() });
        let (world, theirs) = (WORLD.with(|w| w.borrow().clone()), baton.clone());
        let task = move || {
            WORLD.with(|w| *w.borrow_mut() = world);
            let back = theirs.clone();
            let pause = move || {
                back.pass(Turn::Starter);
                back.wait(|turn| matches!(turn, Turn::Other));
            };
            PAUSE.with(|p| *p.borrow_mut() = Some(Box::new(pause)));
            theirs.wait(|turn| matches!(turn, Turn::Other));
            let result = catch_unwind(AssertUnwindSafe(f));
            WORLD.with(|w| drop(w.take()));
            PAUSE.with(|p| drop(p.take()));
            theirs.pass(Turn::Over(result));
        };
        let worker = IDLE.with(|idle| idle.borrow_mut().pop()).unwrap_or_else(Worker::new);
        let tasks = worker.tasks.as_ref().expect("it has not been dropped");
        tasks.send(Box::new(task)).expect("it waits for a task");
        Self { baton, worker: Some(worker) }
    }

    /// Lets it go on until it pauses, or is over; then gives its result.
    pub fn resume(&mut self) -> Option<R> {
        self.baton.pass(Turn::Other);
        self.baton.wait(|turn| !matches!(turn, Turn::Other));
        let turn = std::mem::replace(&mut *lock(&self.baton.turn), Turn::Starter);
        let Turn::Over(result) = turn else { return None };
        IDLE.with(|idle| idle.borrow_mut().extend(self.worker.take()));
        Some(result.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

impl<R> Drop for Other<R> {
    fn drop(&mut self) {
        // It is not over: a test has failed. Nobody waits for it.
        if let Some(worker) = self.worker.take() {
            std::mem::forget(worker);
        }
    }
}
