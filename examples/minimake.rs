//! minimake: a build tool on a page, on the engine's `serve`; `minimake.c` is the same on libjobserver.
//!
//!     minimake [-jN] FILE
//!
//! FILE has a rule on each two lines, as a makefile does: `target: needed targets`, and behind a tab the
//! command. Each runs once, when all that it needs is done. Below make (in a recipe with `+`) the slots are
//! make's; else there are N.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

use jsshim_engine::makeflags::{self, Auth};
use jsshim_engine::serve::{run, Host, Next, Outcome, Server, Table, Tokens, Work};
use jsshim_engine::sys::{Errno, Result};
use jsshim_engine::text::LongPath;

#[derive(Clone, Copy, PartialEq)]
enum State {
    Waiting,
    Running,
    Made,
    Failed,
}

struct Rule {
    needs: Vec<String>,
    command: String,
    state: State,
}

/// The jobs are known by the numbers of their rules; at most 256 run at once.
type Jobs = Table<usize, 256>;

struct Build {
    server: Server<Jobs>,
    names: BTreeMap<String, usize>,
    rules: Vec<Rule>,
    ready: usize,
    keep_going: bool,
}

impl Build {
    fn failed(&self) -> bool {
        self.rules.iter().any(|rule| rule.state == State::Failed)
    }

    fn is(&self, name: &str, state: State) -> bool {
        let rule = self.names.get(name).map(|i| &self.rules[*i]);
        rule.map_or(State::Made, |rule| rule.state) == state
    }
}

impl Host for Build {
    type Jobs = Jobs;

    fn server(&mut self) -> &mut Server<Jobs> {
        &mut self.server
    }

    fn ended(&mut self, rule: usize, status: i32) {
        self.rules[rule].state = if status == 0 { State::Made } else { State::Failed };
    }
}

impl Work for Build {
    fn next(&mut self) -> Next {
        if self.failed() && !self.keep_going {
            return Next::Nothing;
        }
        let mut waiting = self.rules.iter().enumerate().filter(|(_, r)| r.state == State::Waiting);
        let made = |rule: &Rule| rule.needs.iter().all(|name| self.is(name, State::Made));
        match waiting.clone().find(|(_, rule)| made(rule)) {
            Some((i, _)) => {
                self.ready = i;
                Next::Ready
            }
            None if waiting.next().is_some() => Next::Later,
            None => Next::Nothing,
        }
    }

    fn start(&mut self) -> Result<(i32, usize)> {
        let rule = &mut self.rules[self.ready];
        rule.state = State::Running;
        let child = Command::new("/bin/sh").args(["-c", &rule.command]).spawn();
        // The loop collects it by its number.
        let child = child.map_err(|e| Errno(e.raw_os_error().unwrap_or(libc::EAGAIN)))?;
        Ok((child.id() as i32, self.ready))
    }
}

/// The pool of the make above, or one of our own, announced in MAKEFLAGS as far as a make below needs it.
fn pool(slots: Option<usize>) -> std::result::Result<Tokens, String> {
    let flags = std::env::var("MAKEFLAGS").unwrap_or_default();
    let told = |e: Errno| std::io::Error::from_raw_os_error(e.0).to_string();
    match (slots, makeflags::parse(flags.as_bytes()).auth) {
        (None, Some(Auth::Fds { read, write })) => Tokens::join(read, write).map_err(told),
        (None, Some(Auth::Fifo(raw))) => {
            let mut buf = [0; LongPath::ROOM];
            let path = raw.unescape(&mut buf).ok_or("the name of the fifo is too long")?;
            Tokens::join_fifo(&LongPath::new(path)).map_err(told)
        }
        (None, Some(Auth::Unknown(_))) => Err("MAKEFLAGS is malformed".to_owned()),
        (slots, _) => {
            let tokens = Tokens::create(&vec![b'+'; slots.unwrap_or(1) - 1]).map_err(told)?;
            let word = format!("{},{}", tokens.read, tokens.write);
            let auth = format!(" -j --jobserver-fds={word} --jobserver-auth={word}");
            std::env::set_var("MAKEFLAGS", auth);
            Ok(tokens)
        }
    }
}

fn rules(text: &str) -> (BTreeMap<String, usize>, Vec<Rule>) {
    let (mut names, mut rules) = (BTreeMap::new(), Vec::<Rule>::new());
    for line in text.lines() {
        if let (Some(command), Some(rule)) = (line.strip_prefix('\t'), rules.last_mut()) {
            rule.command = command.to_owned();
        } else if let Some((name, needs)) = line.split_once(':') {
            names.insert(name.to_owned(), rules.len());
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            rules.push(Rule { needs, command: String::new(), state: State::Waiting });
        }
    }
    (names, rules)
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let jobs = |word: &String| word.strip_prefix("-j")?.parse().ok().filter(|n| *n > 0);
    let slots = arguments.first().and_then(jobs);
    let Some(text) = arguments.last().and_then(|path| std::fs::read_to_string(path).ok()) else {
        eprintln!("usage: minimake [-jN] FILE");
        return ExitCode::from(2);
    };
    let (names, rules) = rules(&text);
    let flags = std::env::var("MAKEFLAGS").unwrap_or_default();
    let flags = makeflags::parse(flags.as_bytes());
    if flags.dry_run {
        return ExitCode::SUCCESS;
    }
    let keep_going = flags.keep_going;
    let server = pool(slots).and_then(|tokens| {
        Server::new(tokens, Jobs::default()).map_err(|e| format!("no server: {e:?}"))
    });
    let server = match server {
        Ok(server) => server,
        Err(why) => {
            eprintln!("minimake: {why}");
            return ExitCode::from(2);
        }
    };
    let mut build = Build { server, names, rules, ready: 0, keep_going };
    let outcome = run(&mut build);
    build.server.close(true);
    match outcome {
        Ok(Outcome::Done) if build.rules.iter().all(|rule| rule.state == State::Made) => {
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("minimake: {}", std::io::Error::from_raw_os_error(e.0));
            ExitCode::from(2)
        }
    }
}
