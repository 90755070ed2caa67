//! The picture of a pool: its lanes, and how many slots were busy.

use std::collections::BTreeMap;
use std::fmt::Write;

use jsshim_engine::show::lanes::Kind;

use super::format::{duration, escape};
use super::model::{Part, Pool, State};
use super::sums::{self, Sums};

/// The width of everything, of the names at the left, and of what is right of it.
const WIDTH: f64 = 1180.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 10.0;
/// The height of a job, of the space between two lanes, of the curve, of the axis.
const ROW: f64 = 15.0;
const GAP: f64 = 4.0;
const CURVE: f64 = 110.0;
const AXIS: f64 = 24.0;
/// Jobs inside jobs that are drawn at most.
const DEPTH: usize = 4;
/// Waits that are drawn at most; the table has the longest.
const MOST_WAITS: u32 = 24;

/// The style of the picture, which it carries with it.
const STYLE: &str = "\
text{font:11px sans-serif;fill:#333}.t{font-size:10px;fill:#fff;pointer-events:none}.d{fill:#222}\
.implicit{fill:#2f6299}.token{fill:#2a7347}.borrowed{fill:#6f50a0}.overdraft{fill:#b3301f}.wait{fill:#e0b040}\
.lent{fill:#c9c4d6}.part{stroke:#fff;stroke-width:.5}.row{fill:#f3f3f0}.grid{stroke:#ddd}\
.busy{fill:#9cc3a8;stroke:#2a7347}.limit{stroke:#b3301f;stroke-dasharray:5 3}";

/// A picture under way.
struct Picture<'a> {
    pool: &'a Pool,
    sums: &'a Sums,
    text: String,
    y: f64,
}

/// Draws it: the height, and the elements.
fn pool(pool: &Pool, sums: &Sums) -> (f64, String) {
    let mut p = Picture { pool, sums, text: String::new(), y: 14.0 };
    p.lanes(Kind::Slot, "slot", u32::MAX);
    p.lanes(Kind::Overdraft, "overdraft", u32::MAX);
    p.lanes(Kind::Wait, "wait", MOST_WAITS);
    p.curve();
    p.axis();
    (p.y, p.text)
}

impl Picture<'_> {
    fn x(&self, at: u64) -> f64 {
        let share = (at - self.sums.time.0) as f64 / self.sums.wall() as f64;
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.text.write_fmt(element);
        self.text.push('\n');
    }

    fn lanes(&mut self, kind: Kind, what: &str, most: u32) {
        let mut lanes = BTreeMap::<u32, Vec<&Part>>::new();
        let pool = self.pool;
        for part in pool.parts.iter().filter(|p| p.kind == kind && p.lane <= most) {
            lanes.entry(part.lane).or_default().push(part);
        }
        for (number, parts) in lanes {
            let (y, w) = (self.y, WIDTH - LEFT - RIGHT);
            let depths = depths(&parts);
            let h = ROW * (depths.iter().max().unwrap_or(&0) + 1) as f64;
            self.add(format_args!("<text x=\"4\" y=\"{:.1}\">{what} {number}</text>", y + 11.0));
            self.add(format_args!(
                "<rect class=\"row\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{w}\" height=\"{h:.1}\"/>"
            ));
            self.parts(&parts, &depths);
            self.y += h + GAP;
        }
        if kind == Kind::Slot {
            self.y += GAP;
        }
    }

    /// The parts of one lane, by start; what lies inside another is drawn below it. Of what is too narrow to
    /// be seen, one in each place is drawn.
    fn parts(&mut self, parts: &[&Part], depths: &[usize]) {
        let mut drawn = [f64::MIN; DEPTH];
        for (part, depth) in parts.iter().zip(depths.iter().copied()) {
            let (x, end) = (self.x(part.time.0), self.x(part.time.1));
            if end < drawn[depth] + 0.25 && part.state != State::Lent {
                continue;
            }
            drawn[depth] = end.max(drawn[depth]);
            self.part(part, x, (end - x).max(0.25), depth);
        }
    }

    fn part(&mut self, part: &Part, x: f64, w: f64, depth: usize) {
        let (mut y, mut h) = (self.y + ROW * depth as f64, ROW - 1.0);
        if part.state == State::Lent {
            (y, h) = (y + h - 3.0, 3.0);
        }
        let (class, job) = (part.state.name(), &self.pool.jobs[part.job]);
        let over = part.state == State::Overdraft && !job.why.is_empty();
        let why = if over { format!(": {}", job.why) } else { String::new() };
        let name = escape(&job.name);
        self.add(format_args!(
            "<rect class=\"part {class}\" x=\"{x:.2}\" y=\"{y:.1}\" width=\"{w:.2}\" height=\"{h:.1}\">\
             <title>{name}\n{}{}, {} from {}, pid {}</title></rect>",
            part.state.text(),
            escape(&why),
            duration(part.nanos()),
            duration(part.time.0 - self.sums.time.0),
            job.pid,
        ));
        // About 5.5 to a letter.
        let room = ((w - 6.0) / 5.5) as usize;
        if room >= 3 && part.state != State::Lent {
            let shown: String = job.name.chars().take(room).collect();
            let shown = escape(&shown);
            let (x, y) = (x + 3.0, y + 10.5);
            let dark = if part.state == State::Wait { " d" } else { "" };
            self.add(format_args!(
                "<text class=\"t{dark}\" x=\"{x:.1}\" y=\"{y:.1}\">{shown}</text>"
            ));
        }
    }

    /// Busy slots against all slots.
    fn curve(&mut self) {
        let slots = usize::try_from(self.pool.slots).unwrap_or(0).max(self.sums.most()).max(1);
        self.y += 14.0;
        let (top, base) = (self.y, self.y + CURVE);
        let level = |n: usize| base - CURVE * n as f64 / slots as f64;
        let mut path = format!("M{LEFT} {base:.1}");
        for (at, n) in &self.sums.curve {
            let _ = write!(path, "H{:.2}V{:.1}", self.x(*at), level(*n));
        }
        let _ = write!(path, "H{:.2}V{base:.1}Z", self.x(self.sums.time.1));
        self.add(format_args!("<text x=\"4\" y=\"{:.1}\">busy slots</text>", top + 24.0));
        self.add(format_args!("<path class=\"busy\" d=\"{path}\"/>"));
        let step = slots.div_ceil(6);
        for n in (0..=slots).step_by(step) {
            let (y, x) = (level(n), LEFT - 6.0);
            self.add(format_args!(
                "<text x=\"{x}\" y=\"{:.1}\" text-anchor=\"end\">{n}</text>",
                y + 4.0
            ));
        }
        if self.pool.slots > 0 {
            let (y, right) = (level(self.pool.slots as usize), WIDTH - RIGHT);
            self.add(format_args!(
                "<path class=\"limit\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{right}\" y=\"{:.1}\" \
                 text-anchor=\"end\">N = {}</text>",
                y - 3.0,
                self.pool.slots
            ));
        }
        self.y = base;
    }

    fn axis(&mut self) {
        let wall = self.sums.wall();
        let mut step = 1_000_000u64;
        for factor in [2, 5, 2, 2, 5].into_iter().cycle() {
            if wall / step <= 10 {
                break;
            }
            step = if factor == 5 { step / 2 * 5 } else { step * 2 };
        }
        let (start, y) = (self.sums.time.0, self.y);
        for n in 0..=wall / step {
            let (at, x) = (n * step, self.x(start + n * step));
            self.add(format_args!(
                "<path class=\"grid\" d=\"M{x:.1} {y:.1}v5\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text>",
                y + 17.0,
                duration(at)
            ));
        }
        self.y += AXIS;
    }
}

/// In how many others each part of a lane is, within limits.
fn depths(parts: &[&Part]) -> Vec<usize> {
    let mut around: Vec<u64> = Vec::new();
    let depth = |part: &&Part| {
        around.retain(|end| *end > part.time.0);
        // It is shown on the job that sleeps.
        if part.state != State::Lent || around.is_empty() {
            around.push(part.time.1);
        }
        (around.len() - 1).min(DEPTH - 1)
    };
    parts.iter().map(depth).collect()
}

/// The pictures of all pools, one below the other.
pub fn svg(pools: &[Pool]) -> String {
    let (mut body, mut y) = (String::new(), 0.0);
    for one in pools {
        let (height, picture) = pool(one, &sums::of(one));
        let name = escape(&one.name);
        let _ = writeln!(
            body,
            "<text x=\"4\" y=\"{:.1}\">{name}</text><g transform=\"translate(0 {:.1})\">{picture}</g>",
            y + 14.0,
            y + 18.0
        );
        y += height + 24.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.1}\">\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}
