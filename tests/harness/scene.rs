//! One run: its folder, its pool and its processes; and the part of the oracle that watches them.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{chown, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::bursts::Bursts;
use super::pool::{self, Pool};
use super::procs::{self, Mark};
use super::register::Register;
use super::{programs, report, Limit, Outcome, Preload, Run};

const NOBODY: u32 = 65534;
/// The number that [`Run::feeds_a_pipe`] gives.
const FED: RawFd = 9;

/// When the tokens of finished jobs must be back, and when make must be gone after its last job.
const SOON: Duration = Duration::from_secs(2);

/// The folder, the pool and the processes of one run.
pub struct Scene {
    pub dir: PathBuf,
    mark: Mark,
    id: String,
    register: Register,
    pool: Option<Pool>,
    /// A pipe whose write end the host has.
    feeds: Option<(PipeReader, PipeWriter)>,
}

impl Scene {
    pub fn new(run: &Run) -> Scene {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("jsshim-run-{}-{number:04}", std::process::id());
        let dir = programs::base().join(&id);
        for part in ["work", "tmp", "shim"] {
            fs::create_dir_all(dir.join(part)).unwrap();
        }
        fs::set_permissions(dir.join("shim"), fs::Permissions::from_mode(0o700)).unwrap();
        if run.nobody {
            chown(dir.join("shim"), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        for (name, text) in &run.files {
            let path = dir.join("work").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::write(dir.join("stdin"), &run.stdin).unwrap();
        Bursts::begin(&dir);
        let pool = run.pool.map(|(kind, slots)| Pool::new(kind, slots, &dir).unwrap());
        let feeds = run.feeds.then(|| io::pipe().unwrap());
        Scene { mark: Mark::new(&id), register: Register::new(&dir), id, dir, pool, feeds }
    }

    pub fn play(&mut self, run: &Run, shimmed: bool) -> Outcome {
        let mut host = self.start(run, shimmed);
        let (mut complaints, mut late) = (Vec::new(), None);
        let status = match self.wait(run, shimmed, &mut host, &mut late) {
            Some(status) => status,
            None => {
                complaints.push(format!("not finished after {:?}", run.patience));
                complaints
                    .push(format!("run-time folder:\n{}", procs::list(&self.dir.join("shim"))));
                complaints
                    .push(format!("level of the pool: {:?}", self.pool.as_ref().map(Pool::level)));
                complaints.push(self.mark.describe());
                self.mark.kill();
                host.wait().unwrap()
            }
        };
        if let Some(processes) = self.mark.leftovers() {
            complaints.push(format!("processes stay behind:\n{processes}"));
            self.mark.kill();
        }
        if let Some(files) = procs::residue(&self.dir.join("shim")) {
            complaints.push(format!("files stay behind:\n{files}"));
        }
        complaints.extend(self.pool.as_mut().and_then(Pool::complaint));
        let outcome = Outcome {
            status,
            stdout: fs::read(self.dir.join("stdout")).unwrap(),
            stderr: String::from_utf8_lossy(&fs::read(self.dir.join("stderr")).unwrap()).into(),
            jobs: self.register.counts(),
            bursts: Bursts::of(&self.dir),
            argv: run.argv.clone(),
            late,
        };
        let all_end = !run.breaks;
        if all_end && (outcome.jobs.running != 0 || outcome.jobs.started != outcome.jobs.ended) {
            complaints.push("not every job ended".to_owned());
        }
        if run.make && outcome.stderr.contains("INTERNAL") {
            complaints.push("make complains of its pool".to_owned());
        }
        if !complaints.is_empty() {
            let which = if shimmed { "with" } else { "without" };
            let report = report(&outcome);
            panic!("{which} the library: {}\n{report}", complaints.join("\n"));
        }
        outcome
    }

    fn start(&self, run: &Run, shimmed: bool) -> Child {
        let library = if shimmed { programs::artifact("libjsshim.so").unwrap() } else { "".into() };
        let mut argv = run.argv.clone();
        if run.nobody {
            let ids = ["--reuid=65534", "--regid=65534", "--clear-groups"];
            argv.splice(
                0..0,
                [programs::on_path("setpriv")].into_iter().chain(ids.map(Into::into)),
            );
        }
        if let (Preload::Cli(slots, all), true) = (run.preload, shimmed) {
            let cli = [programs::artifact("jsshim").unwrap(), format!("-j{slots}")];
            let all = all.then(|| "--all".to_owned());
            argv.splice(0..0, cli.into_iter().chain(all).chain(["--".to_owned()]));
        }
        let text = |part: &str| self.dir.join(part).to_str().unwrap().to_owned();
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).current_dir(self.dir.join("work")).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", text("tmp")).env("TMPDIR", text("tmp")).env("LC_ALL", "C");
        command.env("PYTHONPATH", programs::script("py")).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("JOB", programs::compiled("job")).env("JSSHIM_TEST_ID", &self.id);
        command.env("JSSHIM_TEST_JOBS", self.register.path()).env("JSSHIM_TEST_GO", text("go"));
        command.env("JSSHIM_DIR", text("shim")).env("JSSHIM_LIB", &library);
        command.env("JSSHIM_TEST_BURSTS", Bursts::path(&self.dir));
        command.envs(
            std::env::var_os("JSSHIM_TEST_EMULATED").map(|pace| ("JSSHIM_TEST_EMULATED", pace)),
        );
        if run.limit == Limit::Jobs {
            command.env("JSSHIM_COUNT", "processes");
        }
        if shimmed && run.preload == Preload::Host {
            command.env("LD_PRELOAD", &library);
        }
        if let Some(pool) = &self.pool {
            command.env("MAKEFLAGS", pool.makeflags());
        }
        command.envs(run.env.iter().cloned());
        command.stdin(File::open(self.dir.join("stdin")).unwrap());
        command.stdout(File::create(self.dir.join("stdout")).unwrap());
        command.stderr(File::create(self.dir.join("stderr")).unwrap());
        let open = |(fd, name): &(RawFd, String)| {
            let path = self.dir.join("work").join(name);
            (File::options().read(true).write(true).open(path).unwrap(), *fd)
        };
        let opened: Vec<_> = run.inherited.iter().map(open).collect();
        let mut placed: Vec<_> = opened.iter().map(|(file, fd)| (file.as_raw_fd(), *fd)).collect();
        placed.extend(self.feeds.iter().map(|(_, write)| (write.as_raw_fd(), FED)));
        if let Some((read, write)) = self.pool.as_ref().and_then(Pool::inherited) {
            placed.extend([(read, pool::READ_END), (write, pool::WRITE_END)]);
        }
        // SAFETY: between fork and exec only async-signal-safe calls are made, on integers.
        unsafe { command.pre_exec(move || place(&placed)) };
        command.spawn().unwrap_or_else(|e| panic!("{argv:?}: {e}"))
    }

    /// Waits for the host's end; `None` after the time-out.
    fn wait(
        &self,
        run: &Run,
        shimmed: bool,
        host: &mut Child,
        late: &mut Option<String>,
    ) -> Option<ExitStatus> {
        let start = Instant::now();
        let mut last = (0, start);
        let mut watching = run.settles.is_some();
        while start.elapsed() < run.patience {
            let ended = self.register.counts().ended;
            if ended != last.0 {
                last = (ended, Instant::now());
            }
            if let Some(status) = host.try_wait().unwrap() {
                if run.make && last.1.elapsed() > SOON {
                    *late = Some(format!("make ended {:?} after the last job", last.1.elapsed()));
                }
                return Some(status);
            }
            if watching && run.settles == Some(ended) {
                let full = self.pool.as_ref().is_none_or(Pool::is_full);
                let is_late = last.1.elapsed() > SOON;
                if shimmed && !full && is_late {
                    let level = self.pool.as_ref().map_or(0, Pool::level);
                    *late = Some(format!("all jobs ended, and the pool has {level} tokens"));
                }
                if full || is_late || !shimmed {
                    fs::write(self.dir.join("go"), "").unwrap();
                    watching = false;
                }
            }
            sleep(Duration::from_millis(5));
        }
        None
    }
}

/// In the child: puts the descriptors where the host expects them, in a session of its own.
fn place(placed: &[(RawFd, RawFd)]) -> io::Result<()> {
    // SAFETY: neither call touches memory.
    unsafe { libc::setsid() };
    for (from, to) in placed {
        // SAFETY: as above; the targets are numbers that nothing before the exec relies on.
        if unsafe { libc::dup2(*from, *to) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
