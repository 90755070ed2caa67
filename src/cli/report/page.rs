//! The page: numbers and tables, which need no script, and a timeline, which does. It needs nothing but itself.

use std::fmt::Write;

use jsshim_engine::show::numbers;

use super::columns;
use super::format::{count, date, duration, escape};
use super::model::{Pool, State};
use super::path::{self, Path};
use super::sums::{self, Sums};
use super::tables;

const STYLE: &str = concat!(include_str!("page/page.css"), include_str!("page/uplot.min.css"));
/// The markup of the timeline, for the script.
const TIMELINE: &str = include_str!("page/timeline.html");
/// The chart library, with its licence in front, and our own script.
const CHARTS: &str = include_str!("page/uplot.min.js");
const CHARTS_LICENCE: &str = include_str!("page/uplot.LICENSE");
const SCRIPT: &str = concat!(
    "'use strict';\n",
    include_str!("page/data.js"),
    include_str!("page/format.js"),
    include_str!("page/rows.js"),
    include_str!("page/lanes.js"),
    include_str!("page/charts.js"),
    include_str!("page/jobs.js"),
    include_str!("page/keys.js"),
    include_str!("page/view.js"),
);
/// Nothing is fetched, whatever a trace holds.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// The whole page.
///
/// # Errors
/// As of the packing of its data, into memory.
pub fn html(pools: &[Pool]) -> std::io::Result<String> {
    let sums: Vec<_> = pools.iter().map(sums::of).collect();
    let paths: Vec<_> = pools.iter().zip(&sums).map(|(p, s)| path::of(p, s.time.0)).collect();
    let command = pools.iter().map(|p| &p.about.command).find(|c| !c.is_empty());
    let title = command.map_or_else(String::new, |c| format!(": {}", escape(c)));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"><link rel=\"icon\" href=\"data:,\">\
         <title>jsshim report{title}</title>\n<style>{STYLE}</style></head>\n<body><main>\n<h1>jsshim report</h1>\n"
    );
    let all = pools.iter().zip(&sums).zip(&paths).enumerate();
    for (index, ((pool, sums), path)) in all {
        section(&mut page, index, pool, sums, path);
    }
    let all = pools.iter().zip(&sums).zip(&paths);
    let data: Vec<_> = all.map(|((pool, sums), path)| columns::of(pool, sums, path)).collect();
    let data = columns::pack(&data)?;
    let _ = write!(
        page,
        "</main>\n<template id=\"timeline\">{TIMELINE}</template>\n\
         <script type=\"text/plain\" id=\"data\">{data}</script>\n\
         <script>/* The chart library uPlot:\n{CHARTS_LICENCE}\n*/\n{CHARTS}</script>\n\
         <script>{SCRIPT}</script>\n</body></html>\n"
    );
    Ok(page)
}

fn section(page: &mut String, index: usize, pool: &Pool, sums: &Sums, path: &Path) {
    // The names of the first pool's numbers have nothing added.
    let suffix = if index == 0 { String::new() } else { format!("-{index}") };
    let _ = writeln!(page, "<section class=\"pool\" aria-labelledby=\"pool{suffix}\">");
    about(page, pool, &suffix);
    let _ = writeln!(page, "<p class=\"verdict\">{}</p>", verdict(pool, sums, path));
    numbers(page, pool, sums, path, &suffix);
    page.push_str("<ul class=\"key\" aria-label=\"Colours\">");
    for state in State::ALL.into_iter().filter(|s| pool.parts.iter().any(|p| p.state == *s)) {
        let _ = write!(page, "<li><i class=\"{}\"></i>{}</li>", state.name(), state.text());
    }
    let _ = writeln!(
        page,
        "</ul>\n<div class=\"timeline\" data-pool=\"{index}\"><p>The timeline needs JavaScript, of a browser of 2023 \
         or later. The tables below do not.</p></div>\n<div class=\"lists\">"
    );
    tables::all(page, pool, sums, path, &suffix);
    page.push_str("</div></section>\n");
}

fn about(page: &mut String, pool: &Pool, suffix: &str) {
    let about = &pool.about;
    let title = if about.command.is_empty() { &pool.name } else { &about.command };
    let _ = write!(
        page,
        "<h2 id=\"pool{suffix}\"><code>{}</code></h2>\n<p class=\"about\">",
        escape(title)
    );
    let mut facts = Vec::new();
    if !about.host.is_empty() {
        facts.push(format!("on <b id=\"host{suffix}\">{}</b>", escape(&about.host)));
    }
    if about.date > 0 {
        facts.push(format!("<time id=\"date{suffix}\">{}</time>", date(about.date)));
    }
    if !about.command.is_empty() {
        facts.push(format!("pool <span>{}</span>", escape(&pool.name)));
    }
    let _ = writeln!(page, "{}</p>", facts.join(" · "));
}

/// What more slots would bring, in a sentence.
fn verdict(pool: &Pool, sums: &Sums, path: &Path) -> String {
    let (wall, least) = (sums.wall(), path.nanos.min(sums.wall()));
    let slots = slots_of(pool, sums);
    let busy = format!("The slots were busy for {:.0} % of the time.", sums.utilisation(slots));
    let saved = wall - least;
    if saved * 50 < wall {
        return format!("{busy} More of them would not have made this build faster: its critical path is as long as it.");
    }
    format!(
        "{busy} With a slot for every job it would have taken {} instead of {}, if the machine could keep up: that is \
         its critical path.",
        duration(least),
        duration(wall)
    )
}

fn slots_of(pool: &Pool, sums: &Sums) -> usize {
    let slots = usize::try_from(pool.slots).unwrap_or(0);
    if slots > 0 {
        slots
    } else {
        sums.most()
    }
}

/// The critical numbers; what `JSSHIM_STATS` tells too is under the same names.
fn numbers(page: &mut String, pool: &Pool, sums: &Sums, path: &Path, suffix: &str) {
    let (most, all) = (sums.most(), slots_of(pool, sums));
    let of = if pool.slots > 0 { format!("{} of {all}", sums.peak) } else { sums.peak.to_string() };
    let c = &sums.counts;
    let overdrafts: usize = sums.overdrafts.values().sum();
    let lent: u64 = pool.jobs.iter().map(|job| job.lent).sum();
    let time = |nanos: u64| (duration(nanos), Some(nanos));
    let told = |time: numbers::Time| String::from_utf8_lossy(time.bytes()).into_owned();
    let rows = [
        ("wall", "whole time", time(sums.wall())),
        ("critical", "critical path", time(path.nanos)),
        ("jobs", "jobs", (count(c.jobs as usize), None)),
        ("utilisation", "slots busy", (format!("{:.1} %", sums.utilisation(all)), None)),
        ("peak", "slots at peak", (of, None)),
        ("busiest", "busy at once at most", (most.to_string(), None)),
        ("full", "all slots busy for", time(sums.time_at(all))),
        ("serial", "at most one busy for", time(sums.wall() - sums.time_at(2))),
        ("waits", "token waits", (count(c.waited() as usize), None)),
        ("median", "median wait", (told(numbers::about(c.quantile(50))), None)),
        ("p95", "p95 of waits", (told(numbers::about(c.quantile(95))), None)),
        ("longest", "longest wait", (told(numbers::time(c.longest)), None)),
        ("held", "time held", (told(numbers::time(c.total)), None)),
        ("lent", "slots lent for", time(lent)),
        ("overdrafts", "overdrafts", (overdrafts.to_string(), None)),
    ];
    page.push_str("<dl class=\"numbers\">");
    for (id, what, (value, nanos)) in rows {
        // As exact as it is known, for scripts.
        let exact = nanos.map_or_else(String::new, |nanos| format!(" data-ns=\"{nanos}\""));
        let _ =
            write!(page, "<div><dt>{what}</dt><dd id=\"{id}{suffix}\"{exact}>{value}</dd></div>");
    }
    page.push_str("</dl>\n");
    if !sums.overdrafts.is_empty() {
        page.push_str("<ul class=\"reasons\">");
        for (why, count) in &sums.overdrafts {
            let _ = write!(page, "<li>{count} without a slot: {}</li>", escape(why));
        }
        page.push_str("</ul>\n");
    }
}
