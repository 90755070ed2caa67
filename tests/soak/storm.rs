//! The kill storm: random signals at random instants to random processes of real nested builds.
//!
//! After each round the pool holds what it held, by value, soon after the last process of the build has
//! ended; make does not complain of its pool; no process, no file and no shared memory stays; nothing
//! hangs. Short by default; `scripts/soak` runs it for as many kills as it is told. A seed makes a round's
//! scene and choices the same again, though not the instants at which the machine is hit.

use std::env;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::kills::{Dice, Kills};
use super::scenes::{Owner, Place, Scene, SCENES};
use crate::harness::programs::is_emulated;
use crate::harness::{ledgers, procs};

/// Kills when nobody says how many.
const SHORT: usize = 150;
/// The same where each program takes many times as long.
const SHORT_EMULATED: usize = 12;
/// When the pool must be full after the last process of a build; asked of the machine only in a long run.
const SOON: Duration = Duration::from_secs(1);
/// What the library may say in a process that has lost its make.
const ORPHANED: [&str; 2] = ["jobserver unavailable", "make above has ended"];
/// What make, shells, xargs and `INIT` say of a process that crashed.
const CRASHES: [&str; 6] = [
    "crash:",
    "Segmentation fault",
    "Bus error",
    "Illegal instruction",
    "Aborted",
    "terminated by signal 11",
];
/// A hang.
const TIMEOUT: Duration = Duration::from_secs(60);

pub fn kill_storm() {
    let number = |name| env::var(name).ok().map(|word| word.parse().expect(name));
    let long: Option<u64> = number("JSSHIM_SOAK_KILLS");
    let short = if is_emulated() { SHORT_EMULATED } else { SHORT };
    let kills = long.map_or(short, |n| n as usize);
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
    let seed = number("JSSHIM_SOAK_SEED").unwrap_or_else(clock);
    let first = number("JSSHIM_SOAK_ROUND").unwrap_or(0);
    let mut all = Kills::default();
    let mut longest = Duration::ZERO;
    let mut round = first;
    while all.count() < kills {
        let (done, back) = Round::new(seed, round).run();
        longest = longest.max(back);
        all.add(done);
        round += 1;
    }
    if long.is_some() {
        println!("seed {seed}, rounds {first} to {}: {}", round - 1, all.summary());
        println!("the pool was full {longest:?} after a build's last process at the latest");
        assert!(longest <= SOON || is_emulated(), "a token was back only after {longest:?}");
    }
}

/// All, or those in which an emulator can play all parts: it has no sandboxes, and what sleeps cannot be told.
fn scenes() -> Vec<&'static (Owner, Place)> {
    let plays = |(owner, place): &&(Owner, Place)| {
        *place == Place::One && matches!(owner, Owner::Make | Owner::Test(_))
    };
    SCENES.iter().filter(|scene| !is_emulated() || plays(scene)).collect()
}

/// One build under fire.
struct Round {
    name: String,
    dice: Dice,
    scene: Scene,
    /// Parts of the build are in PID namespaces of their own.
    boxed: bool,
    kills: Kills,
    root_killed: bool,
}

impl Round {
    fn new(seed: u64, round: u64) -> Round {
        let scenes = scenes();
        let (owner, place) = scenes[round as usize % scenes.len()];
        let name =
            format!("JSSHIM_SOAK_SEED={seed} JSSHIM_SOAK_ROUND={round} ({owner:?}, {place:?})");
        let dice = Dice::new(seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (scene, boxed) = (Scene::new(owner, *place, round), *place == Place::Sandboxes);
        Round { name, dice, scene, boxed, kills: Kills::default(), root_killed: false }
    }

    /// Gives the kills, and how long the pool took to be full again.
    fn run(mut self) -> (Kills, Duration) {
        self.scene.start();
        self.wait("the root starts", TIMEOUT, |scene| scene.root() != 0);
        self.fire();
        self.kills.resume_all();
        self.wait("the root ends", TIMEOUT, |scene| scene.root_has_ended());
        self.wait("all below it ends", TIMEOUT, |scene| scene.builders().is_empty());
        let ended = Instant::now();
        if self.boxed {
            // Guards outside settle what is left of sandboxes that were killed, before they end themselves.
            self.wait("the sandboxes are settled", TIMEOUT, |scene| {
                !ledgers::is_unguarded(&scene.dir.join("shim")) || scene.mark.carriers().is_empty()
            });
        }
        let dir = self.scene.dir.join("shim");
        let unguarded = self.kills.left_no_guard
            || ledgers::has_no_guard(&dir)
            || self.boxed && ledgers::is_unguarded(&dir);
        if !unguarded {
            self.wait("the pool is full", TIMEOUT, |scene| scene.pool_is_full());
        }
        let back = ended.elapsed();
        self.wait("the guard ends", TIMEOUT, |scene| scene.mark.carriers().is_empty());
        let unguarded = unguarded || self.scene.has_pool_without_ledger();
        if unguarded && !self.scene.is_clean() {
            // The guard and its double were killed, or their starter before they were there, or before the
            // pool that it made had a ledger: nobody is left who could know. A later start gives back, and cleans
            // up.
            self.kills.unguarded += 1;
            self.scene.later_start();
            self.wait("the later guard ends", TIMEOUT, |scene| scene.mark.carriers().is_empty());
        }
        self.wait("all are reaped", TIMEOUT, Scene::all_are_reaped);
        let stderr = self.scene.stderr();
        if CRASHES.iter().any(|said| stderr.contains(said)) {
            self.fail("a process has crashed");
        }
        // Where a sandbox was killed beside no other client, nobody was left who could know before make counted.
        if stderr.contains("INTERNAL") && !unguarded && !self.boxed {
            self.fail("make complains of its pool");
        }
        // Whoever has lost the ancestors by which the pool is found must say so.
        let complains = |line: &str| {
            line.starts_with("jsshim:") && !ORPHANED.iter().any(|said| line.contains(said))
        };
        if stderr.lines().any(complains) && !self.root_killed {
            self.fail("the library complains");
        }
        if let Some(files) = procs::residue(&self.scene.dir.join("shim")) {
            self.fail(&format!("files stay behind:\n{files}"));
        }
        if let Some(complaint) = self.scene.pool.as_mut().and_then(|pool| pool.complaint()) {
            self.fail(&complaint);
        }
        let _ = fs::remove_dir_all(&self.scene.dir);
        (self.kills, back)
    }

    /// Signals to the build, until it has had enough or ends.
    fn fire(&mut self) {
        let wanted = 3 + self.dice.below(12) as usize;
        let kills_root = self.dice.below(self.scene.root_is_spared()) == 0;
        while self.kills.count() < wanted && !self.scene.root_has_ended() {
            let millis = if self.dice.below(4) == 0 { 150 } else { 25 };
            let micros = self.dice.below(millis * 1000 * self.scene.slowness());
            std::thread::sleep(Duration::from_micros(micros));
            let parts = ledgers::parts(&self.scene.dir.join("shim"));
            self.kills.one(&mut self.dice, &self.scene.mark, self.scene.root(), &parts);
        }
        if kills_root && !self.scene.root_has_ended() {
            self.root_killed = true;
            self.kills.root(&mut self.dice, self.scene.root());
        }
    }

    fn wait(&mut self, what: &str, limit: Duration, mut done: impl FnMut(&mut Scene) -> bool) {
        let end = Instant::now() + limit;
        while !done(&mut self.scene) {
            if Instant::now() > end {
                self.fail(&format!("does not come to be: {what}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Says all there is to know, and ends what is left of the build.
    fn fail(&self, what: &str) -> ! {
        let level = self.scene.pool.as_ref().map(|pool| pool.level());
        let report = [
            format!("{}: {what}", self.name),
            format!("kills:\n{}", self.kills.list()),
            format!("level of the pool: {level:?}, root killed: {}", self.root_killed),
            format!("processes:\n{}", self.scene.mark.describe()),
            format!("files:\n{}", procs::list(&self.scene.dir.join("shim"))),
            ledgers::describe(&self.scene.dir.join("shim")),
            format!("standard error:\n{}", self.scene.stderr()),
        ];
        self.scene.mark.kill();
        panic!("{}", report.join("\n"));
    }
}
