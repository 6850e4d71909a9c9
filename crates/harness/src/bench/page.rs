//! The report as one page: figures, plots and how they came about, in one HTML
//! file that needs nothing from elsewhere and has no script.
//!
//! Never shows a figure without its spread over the rounds, and says first
//! whether the mail arrived: speed of a server that loses mail is no figure.

mod parts;
mod plot;

use std::fmt::Write;

use base::Wall;
use mail::Timestamp;

use super::figures::{BenchReport, CEILING, Round};
use parts::{Row, rows, tiles};
use plot::{Axis, Bar, Line, escape, micros, nines, short};

/// One column of the page: a target of one report.
#[derive(Debug)]
pub(super) struct Column<'a> {
    pub(super) name: String,
    /// Class of its colour.
    pub(super) class: String,
    pub(super) is_ceiling: bool,
    pub(super) rounds: Vec<&'a Round>,
}

/// The page about `reports`, each with the name it goes by where there are
/// several.
pub fn page(reports: &[(String, BenchReport)]) -> String {
    let columns = columns(reports);
    let mut html = String::new();
    let first = reports.first().map(|(_, report)| report);
    let title = first.map_or(String::new(), |report| escape(&report.scenario));
    put(
        &mut html,
        format_args!("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>"),
    );
    put(&mut html, format_args!("<meta name=\"viewport\" content=\"width=device-width\"/>"));
    put(&mut html, format_args!("<title>{title}: load test</title><style>{STYLE}</style></head>"));
    html.push_str("<body><main>");
    heading(&mut html, reports);
    verdicts(&mut html, &columns);
    tiles(&mut html, &columns);
    table(&mut html, &rows(&columns), &columns);
    throughput(&mut html, &columns);
    latencies(&mut html, &columns);
    processor(&mut html, &columns);
    memory(&mut html, &columns);
    background(&mut html, reports, &columns);
    html.push_str("</main></body></html>\n");
    html
}

fn columns(reports: &[(String, BenchReport)]) -> Vec<Column<'_>> {
    let mut columns = Vec::new();
    let mut number = 0;
    for (label, report) in reports {
        let targets = report.targets().into_iter().chain([CEILING]);
        for target in targets {
            let rounds: Vec<&Round> = report.rounds_of(target).collect();
            if rounds.is_empty() {
                continue;
            }
            let is_ceiling = target == CEILING;
            let name = match reports.len() {
                1 => target.to_owned(),
                _ => format!("{label}: {target}"),
            };
            let class =
                if is_ceiling { "c-ceiling".to_owned() } else { format!("c{}", number % 6) };
            number += usize::from(!is_ceiling);
            columns.push(Column { name, class, is_ceiling, rounds });
        }
    }
    columns
}

fn heading(html: &mut String, reports: &[(String, BenchReport)]) {
    html.push_str("<header>");
    for (place, (label, report)) in reports.iter().enumerate() {
        if place == 0 {
            put(
                html,
                format_args!(
                    "<p class=\"kind\">Load test</p><h1>{}</h1>",
                    escape(&report.scenario)
                ),
            );
            put(html, format_args!("<p class=\"about\">{}</p>", escape(&report.about)));
        }
        let which =
            if reports.len() > 1 { format!("<b>{}</b> · ", escape(label)) } else { String::new() };
        let commit = report.commit.as_deref().map_or(String::new(), |commit| {
            format!(" · commit {}", escape(&commit.chars().take(12).collect::<String>()))
        });
        let set = match report.overrides.is_empty() {
            true => String::new(),
            false => format!(" · with {}", escape(&report.overrides.join(", "))),
        };
        put(
            html,
            format_args!(
                "<p class=\"machine\">{which}{} · {}{commit}{set}</p>",
                date(report.made_at),
                escape(&report.machine.line())
            ),
        );
    }
    let differ = reports.windows(2).any(|pair| pair[0].1.machine != pair[1].1.machine);
    let plans = reports.windows(2).any(|pair| {
        (&pair[0].1.plan, &pair[0].1.overrides) != (&pair[1].1.plan, &pair[1].1.overrides)
    });
    if reports.len() > 1 {
        html.push_str("<p class=\"warning\">These are different runs: what differs may be the day as well as the server. ");
        if differ {
            html.push_str("They were made on different machines. ");
        }
        if plans {
            html.push_str("They do not have the same scenario. ");
        }
        html.push_str("Only servers of one run can be compared with confidence.</p>");
    }
    html.push_str("</header>");
}

/// Whether the mail arrived, before anything else.
fn verdicts(html: &mut String, columns: &[Column<'_>]) {
    html.push_str("<ul class=\"verdicts\">");
    for column in
        columns.iter().filter(|column| column.rounds.iter().any(|round| round.promised > 0))
    {
        let sum = |of: fn(&Round) -> u64| column.rounds.iter().map(|round| of(round)).sum::<u64>();
        let fine = column.rounds.iter().all(|round| round.is_exactly_once());
        let name = escape(&column.name);
        if fine {
            let arrived = short(sum(|round| round.arrived) as f64);
            put(
                html,
                format_args!(
                    "<li class=\"fine\"><b>{name}</b> all {arrived} promised deliveries arrived exactly once, unaltered</li>"
                ),
            );
        } else {
            put(
                html,
                format_args!(
                    "<li class=\"bad\"><b>{name}</b> {} missing, {} doubled, {} altered, {} unexpected \
                     of {} promised deliveries</li>",
                    sum(|round| round.missing),
                    sum(|round| round.doubled),
                    sum(|round| round.altered),
                    sum(|round| round.unexpected),
                    sum(|round| round.promised)
                ),
            );
        }
        for (trouble, count) in column.rounds.iter().flat_map(|round| &round.troubles) {
            put(
                html,
                format_args!("<li class=\"bad\"><b>{name}</b> {count} × {}</li>", escape(trouble)),
            );
        }
    }
    html.push_str("</ul>");
}

fn table(html: &mut String, rows: &[Row], columns: &[Column<'_>]) {
    html.push_str("<section><h2>Figures</h2><div class=\"wide\"><table><thead><tr><th></th>");
    for column in columns {
        put(
            html,
            format_args!("<th><i class=\"{}\"></i>{}</th>", column.class, escape(&column.name)),
        );
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        put(
            html,
            format_args!("<tr><th scope=\"row\">{}<small>{}</small></th>", row.name, row.note),
        );
        for cell in &row.cells {
            match cell {
                Some((middle, spread)) => {
                    put(html, format_args!("<td>{middle}<small>{spread}</small></td>"))
                }
                None => html.push_str("<td class=\"none\">–</td>"),
            }
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div><p class=\"note\">The middle of the rounds; small: the least and the greatest.</p></section>");
}

fn throughput(html: &mut String, columns: &[Column<'_>]) {
    let flows = columns.iter().filter(|column| !column.is_ceiling);
    let mut drawn = Vec::new();
    for (column, round) in
        flows.flat_map(|column| column.rounds.iter().map(move |round| (column, round)))
    {
        let per_bin = round.flow.bin.max(1) as f64 / 1e3;
        for (counts, what) in
            [(&round.flow.accepted, "accepted"), (&round.flow.delivered, "delivered")]
        {
            let points = counts.iter().enumerate();
            let points = points.map(|(at, n)| ((at as f64 + 0.5) * per_bin, *n as f64 / per_bin));
            drawn.push(Line {
                name: format!("{}, round {}: {what}", column.name, round.number),
                class: column.class.clone(),
                is_dashed: what == "accepted",
                points: points.collect(),
            });
        }
    }
    let figure = over_time(&drawn, "messages per second");
    section(
        html,
        (
            "Throughput over time",
            "Solid: delivered, dashed: accepted; each round a line of its own.",
        ),
        columns,
        &figure,
    );
}

fn latencies(html: &mut String, columns: &[Column<'_>]) {
    let titles = [
        ("accept", "Accept: MAIL to 250"),
        ("queue", "Queue: 250 to MAIL at the exchanger"),
        ("deliver", "Deliver: MAIL to final dot at the exchanger"),
        ("whole", "End to end: MAIL to final dot at the exchanger"),
    ];
    html.push_str("<section><h2>Latency</h2>");
    legend(html, columns, true);
    html.push_str("<div class=\"pair\">");
    for (name, title) in titles {
        let mut drawn = Vec::new();
        for column in columns.iter().filter(|column| !column.is_ceiling || name == "accept") {
            for round in &column.rounds {
                let Some(times) = round.times.get(name).filter(|times| times.count > 0) else {
                    continue;
                };
                // Beyond the last event there is nothing to draw.
                let rest = 1.0 / times.count as f64;
                let quantiles = (0..=160).map(|at| 10f64.powf(-f64::from(at) / 40.0));
                let quantiles =
                    quantiles.take_while(|share| *share >= rest).map(|share| 1.0 - share);
                drawn.push(Line {
                    name: format!(
                        "{}, round {}: p50 {}, p99 {}",
                        column.name,
                        round.number,
                        micros(times.p50 as f64),
                        micros(times.p99 as f64)
                    ),
                    class: column.class.clone(),
                    is_dashed: column.is_ceiling,
                    points: quantiles.map(|q| (nines(q), times.at(q) as f64)).collect(),
                });
            }
        }
        let values = || drawn.iter().flat_map(|line| &line.points).map(|point| point.1);
        if drawn.is_empty() {
            continue;
        }
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        let figure =
            plot::lines(plot::HALF, &Axis::percentiles(), &Axis::times("time", low, high), &drawn);
        put(html, format_args!("<figure><figcaption>{title}</figcaption>{figure}</figure>"));
    }
    html.push_str("</div><p class=\"note\">From histograms that keep three digits of every single time. In an open loop a message's time counts from when it was due.</p></section>");
}

fn processor(html: &mut String, columns: &[Column<'_>]) {
    let mut bars = Vec::new();
    for column in columns {
        for round in &column.rounds {
            let Some((user, system)) = round.cpu() else { continue };
            bars.push(Bar {
                name: match column.rounds.len() {
                    1 => column.name.clone(),
                    _ => format!("{} {}", column.name, round.number),
                },
                class: column.class.clone(),
                parts: vec![user, system],
                text: format!("{} + {} µs", short(user), short(system)),
            });
        }
    }
    if !bars.is_empty() {
        section(
            html,
            (
                "Processor time for each message",
                "Of the server alone, all its processes: user mode (full) and kernel (pale).",
            ),
            columns,
            &plot::bars(&bars),
        );
    }
}

fn memory(html: &mut String, columns: &[Column<'_>]) {
    let mut drawn = Vec::new();
    for column in columns {
        for round in column.rounds.iter().filter(|round| !round.samples.is_empty()) {
            let points = round.samples.iter();
            let points = points.map(|sample| {
                (sample.at as f64 / 1e3, sample.anonymous as f64 / f64::from(1 << 20))
            });
            drawn.push(Line {
                name: format!("{}, round {}", column.name, round.number),
                class: column.class.clone(),
                is_dashed: false,
                points: points.collect(),
            });
        }
    }
    let figure = over_time(&drawn, "MiB");
    section(
        html,
        (
            "Memory over time",
            "Of the server's own, without mapped files, which are the kernel's cache.",
        ),
        columns,
        &figure,
    );
}

/// Lines over seconds.
fn over_time(drawn: &[Line], label: &'static str) -> String {
    let points = || drawn.iter().flat_map(|line| &line.points);
    let long = points().map(|point| point.0).fold(0.0, f64::max);
    let high = points().map(|point| point.1).fold(0.0, f64::max);
    match points().next() {
        Some(_) => plot::lines(
            plot::WHOLE,
            &Axis::linear("seconds", long),
            &Axis::linear(label, high),
            drawn,
        ),
        None => String::new(),
    }
}

/// Which colour is whose.
fn legend(html: &mut String, columns: &[Column<'_>], with_ceiling: bool) {
    html.push_str("<p class=\"legend\">");
    for column in columns.iter().filter(|column| with_ceiling || !column.is_ceiling) {
        let name = escape(&column.name);
        put(html, format_args!("<span><i class=\"{}\"></i>{name}</span>", column.class));
    }
    html.push_str("</p>");
}

fn section(html: &mut String, (title, note): (&str, &str), columns: &[Column<'_>], figure: &str) {
    if !figure.is_empty() {
        put(html, format_args!("<section><h2>{title}</h2>"));
        legend(html, columns, false);
        put(html, format_args!("<figure>{figure}</figure><p class=\"note\">{note}</p></section>"));
    }
}

/// What the figures rest on: disk, scenario, configurations.
fn background(html: &mut String, reports: &[(String, BenchReport)], columns: &[Column<'_>]) {
    html.push_str("<section><h2>How it was measured</h2>");
    for (label, report) in reports {
        let disk = &report.disk;
        let which = if reports.len() > 1 { format!("{}: ", escape(label)) } else { String::new() };
        let class = if disk.suspect { "warning" } else { "note" };
        put(
            html,
            format_args!(
                "<p class=\"{class}\">{which}A sync of 2 KiB takes {} (p50), {} (p99); {} MB/s with a sync \
                 every 4 MiB. {}</p>",
                micros(disk.sync.p50 as f64),
                micros(disk.sync.p99 as f64),
                short(disk.synced_bytes_per_second / 1e6),
                escape(&disk.findings.join(" "))
            ),
        );
        let plan = format!(
            "{}{}",
            report.plan,
            report.overrides.iter().map(|one| format!("\n# set: {one}")).collect::<String>()
        );
        put(
            html,
            format_args!(
                "<details><summary>{which}The scenario</summary><pre>{}</pre></details>",
                escape(plan.trim())
            ),
        );
        put(
            html,
            format_args!(
                "<details><summary>{which}The machine</summary><pre>{}</pre></details>",
                escape(&format!("{:#?}", report.machine))
            ),
        );
    }
    for column in columns.iter().filter(|column| !column.is_ceiling) {
        if let Some(round) = column.rounds.first() {
            let (name, text) = (escape(&column.name), escape(round.configuration.trim()));
            put(
                html,
                format_args!(
                    "<details><summary>Configuration of {name}</summary><pre>{text}</pre></details>"
                ),
            );
        }
    }
    html.push_str("<p class=\"note\">Source and sinks run on the same machine and take their share of it. Every message carries a number and a digest; what arrived is held against what was promised, message by message. Processor time, memory and bytes are the kernel's own accounts of the server's processes; bytes and flushes of the disk are everybody's.</p></section>");
}

/// A day and a minute, in UTC, from seconds since 1970.
fn date(seconds: u64) -> String {
    let at = Timestamp(Wall::from_millis(seconds.saturating_mul(1_000))).to_string();
    format!("{} {} UTC", &at[..10], &at[11..16])
}

fn put(html: &mut String, text: std::fmt::Arguments<'_>) {
    html.write_fmt(text).expect("a String takes everything");
}

const STYLE: &str = include_str!("page/page.css");

#[cfg(test)]
mod tests;
