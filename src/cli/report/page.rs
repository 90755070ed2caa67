//! The page: numbers, pictures, tables. It needs nothing but itself.

use std::fmt::Write;

use jsshim_engine::show::numbers;

use super::draw;
use super::read::{Part, Pool, State};
use super::sums::{self, Sums};

/// Lines of a table.
const MOST: usize = 10;

const STYLE: &str = "\
body{font:14px sans-serif;color:#222;max-width:1200px;margin:1em auto;padding:0 1em}\
h1{font-size:20px}h2{font-size:16px;margin-top:1.6em}\
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(170px,1fr));gap:8px}\
dl div{background:#f3f3f0;padding:6px 10px}dt{font-size:12px;color:#666}dd{margin:0;font-size:17px}\
table{border-collapse:collapse}td,th{text-align:left;padding:2px 14px 2px 0}td.n{text-align:right}\
.key span{display:inline-block;width:12px;height:12px;margin:0 4px 0 12px}\
svg{width:100%;height:auto}";

/// A text inside an element.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A time with a unit that suits it.
pub fn seconds(nanos: u64) -> String {
    match nanos {
        0 => "0 s".to_owned(),
        1..1_000_000_000 => format!("{:.3} ms", nanos as f64 / 1e6),
        _ => format!("{:.3} s", nanos as f64 / 1e9),
    }
}

/// As in the block of `JSSHIM_STATS`.
fn told(time: numbers::Time) -> String {
    String::from_utf8_lossy(time.bytes()).into_owned()
}

/// The whole page.
pub fn html(pools: &[Pool]) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>jsshim report</title>\n\
         <style>{STYLE}{}</style></head><body>\n<h1>jsshim report</h1>\n",
        draw::STYLE
    );
    for pool in pools {
        section(&mut page, pool);
    }
    page.push_str("</body></html>\n");
    page
}

/// The pictures alone, one below the other.
pub fn svg(pools: &[Pool]) -> String {
    let (mut body, mut y) = (String::new(), 0.0);
    for pool in pools {
        let (height, picture) = draw::pool(pool, &sums::of(pool));
        let name = escape(&pool.name);
        let _ = writeln!(
            body,
            "<text x=\"4\" y=\"{:.1}\">{name}</text><g transform=\"translate(0 {:.1})\">{picture}</g>",
            y + 14.0,
            y + 18.0
        );
        y += height + 24.0;
    }
    let width = draw::width();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {y:.1}\">\n<style>{}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n",
        draw::STYLE
    )
}

fn section(page: &mut String, pool: &Pool) {
    let sums = sums::of(pool);
    let _ = writeln!(page, "<section><h2>Pool {}</h2>", escape(&pool.name));
    numbers(page, pool, &sums);
    page.push_str("<p class=\"key\">");
    for (class, what) in [
        ("#3b6ea5", "on its client's own slot"),
        ("#3f8f5f", "on a token"),
        ("#7a5fa0", "on a slot whose jobs sleep"),
        ("#c0392b", "without a slot"),
        ("#e0b040", "waits"),
    ] {
        let _ = write!(page, "<span style=\"background:{class}\"></span>{what}");
    }
    let (height, picture) = draw::pool(pool, &sums);
    let width = draw::width();
    let _ = writeln!(page, "</p>\n<svg viewBox=\"0 0 {width} {height:.1}\">\n{picture}</svg>");
    let waits = pool.parts.iter().filter(|p| p.state == State::Wait);
    table(page, "Longest waits", "waits", waits, &sums);
    let runs = pool.parts.iter().filter(|p| p.state != State::Wait);
    table(page, "Longest jobs", "runs", runs, &sums);
    page.push_str("</section>\n");
}

/// The critical numbers; what `JSSHIM_STATS` tells too is under the same names.
fn numbers(page: &mut String, pool: &Pool, sums: &Sums) {
    let slots = usize::try_from(pool.slots).unwrap_or(0);
    let most = sums.most();
    let of = if slots > 0 { format!("{} of {slots}", sums.peak) } else { sums.peak.to_string() };
    let all = if slots > 0 { slots } else { most };
    let c = &sums.counts;
    let overdrafts: usize = sums.overdrafts.values().sum();
    let rows = [
        ("wall", "whole time", seconds(sums.wall())),
        ("jobs", "jobs", c.jobs.to_string()),
        ("peak", "slots at peak", of),
        ("busiest", "most slots busy at once", most.to_string()),
        ("utilisation", "slots busy", format!("{:.1} %", sums.utilisation(all))),
        ("full", "all slots busy for", seconds(sums.time_at(all))),
        ("serial", "at most one busy for", seconds(sums.wall() - sums.time_at(2))),
        ("waits", "token waits", c.waited().to_string()),
        ("median", "median wait", told(numbers::about(c.quantile(50)))),
        ("p95", "p95 of waits", told(numbers::about(c.quantile(95)))),
        ("longest", "longest wait", told(numbers::time(c.longest))),
        ("held", "time held", told(numbers::time(c.total))),
        ("overdrafts", "overdrafts", overdrafts.to_string()),
    ];
    page.push_str("<dl>");
    for (id, what, value) in rows {
        let _ = write!(page, "<div><dt>{what}</dt><dd id=\"{id}\">{value}</dd></div>");
    }
    page.push_str("</dl>\n");
    if !sums.overdrafts.is_empty() {
        page.push_str("<ul>");
        for (why, count) in &sums.overdrafts {
            let _ = write!(page, "<li>{count} without a slot: {}</li>", escape(why));
        }
        page.push_str("</ul>\n");
    }
}

fn table<'a>(
    page: &mut String,
    title: &str,
    id: &str,
    parts: impl Iterator<Item = &'a Part>,
    sums: &Sums,
) {
    let mut parts: Vec<_> = parts.collect();
    if parts.is_empty() {
        return;
    }
    parts.sort_by_key(|p| std::cmp::Reverse(p.nanos()));
    let _ = writeln!(
        page,
        "<h2>{title}</h2><table id=\"table-{id}\"><tr><th>time</th><th>from</th><th>pid</th><th>job</th></tr>"
    );
    for p in parts.into_iter().take(MOST) {
        let (time, from) = (seconds(p.nanos()), seconds(p.time.0 - sums.time.0));
        let _ = writeln!(
            page,
            "<tr><td class=\"n\">{time}</td><td class=\"n\">{from}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            p.pid,
            escape(&p.name)
        );
    }
    page.push_str("</table>\n");
}
