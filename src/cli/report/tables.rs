//! The tables of the page: they need no script.

use std::fmt::Write;

use super::format::{clock, count, duration, escape, memory};
use super::model::Pool;
use super::path::Path;
use super::sums::Sums;
use super::totals::{self, Total};

/// Lines of a table.
const MOST: usize = 10;
/// Lines of the critical path, which is one thing.
const MOST_OF_PATH: usize = 100;

/// A column: its title, and whether it holds numbers.
type Column = (&'static str, bool);

/// Those of a table of jobs.
const JOB: [Column; 6] = [
    ("time", true),
    ("waited", true),
    ("from", true),
    ("memory", true),
    ("pid", true),
    ("job", false),
];

/// All tables of a pool. `suffix` makes their names unique.
pub fn all(page: &mut String, pool: &Pool, sums: &Sums, path: &Path, suffix: &str) {
    let job = |index: usize| {
        let job = &pool.jobs[index];
        let from = clock(job.start.saturating_sub(sums.time.0));
        let cells = [
            duration(job.runs()),
            duration(job.waits()),
            from,
            memory(job.memory),
            job.pid.to_string(),
            escape(&job.name),
        ];
        (Some(index), cells.to_vec())
    };
    let longest = |of: &dyn Fn(usize) -> u64| {
        let mut jobs: Vec<_> = (0..pool.jobs.len()).filter(|i| of(*i) > 0).collect();
        jobs.sort_by_key(|index| std::cmp::Reverse(of(*index)));
        jobs.truncate(MOST);
        jobs.into_iter().map(job).collect()
    };
    let mut add = |id: &str, title: &str, columns: &[Column], rows: Vec<Row>, all: usize| {
        table(page, &format!("{id}{suffix}"), title, columns, rows, all);
    };
    let rows = path.jobs.iter().rev().take(MOST_OF_PATH).rev().copied().map(job).collect();
    add("path", "Critical path", &JOB, rows, path.jobs.len());
    let programs = totals::programs(pool);
    let all: u64 = programs.iter().map(|p| p.alone).sum();
    let rows = programs.iter().take(2 * MOST).map(|p| program(p, all)).collect();
    add("programs", "Programs", &PROGRAM, rows, programs.len());
    let rows = longest(&|i| if pool.jobs[i].ran { pool.jobs[i].waits() } else { 0 });
    add("waits", "Longest waits", &JOB, rows, 0);
    // What only runs others is as long as these.
    let outer = totals::outer(pool);
    let rows = longest(&|i| if outer[i] || !pool.jobs[i].ran { 0 } else { pool.jobs[i].runs() });
    add("runs", "Longest jobs", &JOB, rows, 0);
}

const PROGRAM: [Column; 8] = [
    ("program", false),
    ("jobs", true),
    ("time", true),
    ("of all", true),
    ("mean", true),
    ("longest", true),
    ("waited", true),
    ("memory", true),
];

fn program(p: &Total, all: u64) -> Row {
    let cells = [
        escape(&p.name),
        count(p.jobs),
        duration(p.runs),
        format!("{:.1} %", 100.0 * p.alone as f64 / all.max(1) as f64),
        duration(p.runs / p.jobs.max(1) as u64),
        duration(p.longest),
        duration(p.waits),
        memory(p.memory),
    ];
    (None, cells.to_vec())
}

/// The job that it is about, which the script can show; and its cells.
type Row = (Option<usize>, Vec<String>);

/// A table in which a column that is empty is left out. `all`: how many rows there would be; 0: that is not said.
fn table(page: &mut String, id: &str, title: &str, columns: &[Column], rows: Vec<Row>, all: usize) {
    if rows.is_empty() {
        return;
    }
    let is_used = |at: usize| rows.iter().any(|(_, cells)| !cells[at].is_empty());
    let used: Vec<usize> = (0..columns.len()).filter(|at| is_used(*at)).collect();
    // Where a window is narrow they are laid out in different ways.
    let of = if columns.len() == JOB.len() { "jobs" } else { "programs" };
    let more = if all > rows.len() {
        format!(" <small>{} of {}</small>", rows.len(), count(all))
    } else {
        String::new()
    };
    let _ = write!(
        page,
        "<section class=\"list\"><h3 id=\"h-{id}\">{title}{more}</h3>\n<div class=\"wide\" tabindex=\"0\" \
         role=\"region\" aria-labelledby=\"h-{id}\"><table id=\"table-{id}\" class=\"of-{of}\"><thead><tr>"
    );
    let class = |at: usize| if columns[at].1 { " class=\"n\"" } else { "" };
    for at in &used {
        let _ = write!(page, "<th scope=\"col\"{}>{}</th>", class(*at), columns[*at].0);
    }
    page.push_str("</tr></thead><tbody>\n");
    for (job, cells) in rows {
        let job = job.map_or_else(String::new, |job| format!(" data-job=\"{job}\""));
        let _ = write!(page, "<tr{job}>");
        for at in &used {
            let _ = write!(page, "<td{}>{}</td>", class(*at), cells[*at]);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div></section>\n");
}
