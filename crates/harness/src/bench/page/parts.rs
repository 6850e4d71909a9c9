//! The figures of a page: the large ones at its head, and the table of all.
//!
//! Never computes a figure of its own: what is shown is in the report file.

use super::plot::{escape, micros, short};
use super::{Column, put};
use crate::bench::figures::{Round, Spread};

/// One line of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// What it counts, in small.
    pub(super) note: &'static str,
    /// For each column: the middle, and the least and greatest.
    pub(super) cells: Vec<Option<(String, String)>>,
}

type Figure = fn(&Round) -> Option<f64>;
type Text = fn(f64) -> String;

/// Rows that any scenario may have; those that nobody has are left out.
const ROWS: [(&str, &str, Figure, Text); 21] = [
    ("Delivered", "messages/s, first byte in to last dot out", |r| some(r.rate()), short),
    ("Accepted", "messages/s", |r| some(r.accept_rate()), short),
    ("Bytes in", "MB/s", |r| some(r.bytes as f64 / r.accept_seconds.max(1e-9) / 1e6), short),
    ("CPU, user", "for each message", |r| r.cpu().map(|cpu| cpu.0), micros),
    ("CPU, kernel", "for each message", |r| r.cpu().map(|cpu| cpu.1), micros),
    ("Accept p50", "MAIL to 250", |r| at(r, "accept", 0.5), micros),
    ("Accept p99", "MAIL to 250", |r| at(r, "accept", 0.99), micros),
    ("Dot p50", "final dot to 250", |r| at(r, "dot", 0.5), micros),
    ("Dot p99", "final dot to 250", |r| at(r, "dot", 0.99), micros),
    ("End to end p50", "MAIL to final dot out", |r| at(r, "whole", 0.5), micros),
    ("End to end p99", "MAIL to final dot out", |r| at(r, "whole", 0.99), micros),
    ("System calls", "for each message", |r| r.each(|cost| cost.syscalls), short),
    ("Syncs", "for each message, by its own count", |r| r.each(|cost| cost.syncs), short),
    ("Flushes", "of the disk, for each message", |r| r.each(|cost| cost.disk_flushes), short),
    (
        "Written",
        "KiB by the server, for each message",
        |r| kib(r.each(|cost| Some(cost.written))),
        short,
    ),
    ("Disk wrote", "KiB for each message", |r| kib(r.each(|cost| cost.disk_written)), short),
    ("Memory", "MiB of its own, most", |r| r.cost.map(|cost| mib(cost.anonymous_peak)), short),
    ("Memory, mapped too", "MiB, most", |r| r.cost.map(|cost| mib(cost.resident_peak)), short),
    ("Descriptors", "most", |r| r.cost.map(|cost| cost.descriptors_peak as f64), short),
    (
        "Faulty sites",
        "deliveries that arrived there",
        |r| (r.faulty.0 > 0).then_some(r.faulty.1 as f64),
        short,
    ),
    ("Load", "CPU of source and sinks, for each message", |r| load(r), micros),
];

/// Figures of single kinds of scenario, by their names in the report.
const EXTRA: [(&str, &str, &str, Text); 13] = [
    ("drain_rate", "Drained", "messages/s once delivery began", short),
    ("drain_seconds", "Drained in", "seconds", short),
    ("first_delivery_seconds", "First delivery", "seconds after delivery began", short),
    ("accept_rate_first_tenth", "Accepted, first tenth", "messages/s into an empty queue", short),
    ("accept_rate_last_tenth", "Accepted, last tenth", "messages/s into a full queue", short),
    ("memory_per_queued_message", "Queued message", "bytes of memory each", short),
    ("restart_seconds", "Restart", "seconds until mail is taken again", short),
    ("idle_cpu_percent", "Idle", "% of one processor", short),
    ("memory_per_idle_session", "Idle session", "bytes of memory each", short),
    ("memory_growth_per_hour", "Memory growth", "bytes per hour, second half", short),
    ("descriptor_growth_per_hour", "Descriptor growth", "per hour, second half", short),
    ("accept_p99_first_quarter", "Accept p99, first quarter", "MAIL to 250", micros),
    ("accept_p99_last_quarter", "Accept p99, last quarter", "MAIL to 250", micros),
];

/// Every row that some column has.
pub(super) fn rows(columns: &[Column<'_>]) -> Vec<Row> {
    let cell = |column: &Column<'_>, figure: &dyn Fn(&Round) -> Option<f64>, text: Text| {
        let figures: Vec<f64> = column.rounds.iter().filter_map(|round| figure(round)).collect();
        let spread = Spread::of(figures.iter().copied());
        let width = match figures.len() {
            0 => return None,
            1 => String::new(),
            _ => format!("{} to {}", text(spread.least), text(spread.greatest)),
        };
        Some((text(spread.middle), width))
    };
    let usual = ROWS.into_iter().map(|(name, note, figure, text)| Row {
        name,
        note,
        cells: columns.iter().map(|column| cell(column, &figure, text)).collect(),
    });
    let extra = EXTRA.into_iter().map(|(key, name, note, text)| {
        let figure = move |round: &Round| round.extra.get(key).copied();
        let cells = columns.iter().map(|column| cell(column, &figure, text)).collect();
        Row { name, note, cells }
    });
    usual.chain(extra).filter(|row| row.cells.iter().any(Option::is_some)).collect()
}

/// The large figures of the first column, and how the others compare.
pub(super) fn tiles(html: &mut String, columns: &[Column<'_>]) {
    let Some(first) = columns.iter().find(|column| !column.is_ceiling) else { return };
    let spread = |column: &Column<'_>, figure: Figure| {
        let figures: Vec<f64> = column.rounds.iter().filter_map(|round| figure(round)).collect();
        (!figures.is_empty()).then(|| Spread::of(figures))
    };
    let rate: Figure = |round| some(round.rate());
    let cpu: Figure = |round| round.cpu().map(|(user, system)| user + system);
    let dot: Figure = |round| at(round, "dot", 0.99);
    let mut tiles = Vec::new();
    if let Some(own) = spread(first, rate) {
        tiles.push((short(own.middle), "delivered per second".to_owned()));
    }
    if let Some(own) = spread(first, cpu) {
        tiles.push((micros(own.middle), "processor time for each message".to_owned()));
    }
    if let Some(own) = spread(first, dot) {
        tiles.push((micros(own.middle), "final dot to 250, p99".to_owned()));
    }
    if let Some(own) = spread(first, |round| round.extra.get("idle_cpu_percent").copied()) {
        tiles.push((format!("{} %", short(own.middle)), "of one processor, idle".to_owned()));
    }
    for column in columns.iter().filter(|column| column.name != first.name) {
        let (Some(ours), Some(theirs)) = (spread(first, rate), spread(column, rate)) else {
            continue;
        };
        let ratio = ours.over(theirs);
        if column.is_ceiling {
            let share = format!("{:.0} %", ratio.middle * 100.0);
            tiles.push((share, "of what source and sink reach without a server".to_owned()));
        } else {
            let between = match ratio.least == ratio.greatest {
                true => String::new(),
                false => format!(" ({:.1} to {:.1})", ratio.least, ratio.greatest),
            };
            let text = format!("the deliveries of {}{between}", column.name);
            tiles.push((format!("{:.1}×", ratio.middle), text));
        }
    }
    let name = escape(&first.name);
    put(html, format_args!("<section class=\"tiles\" aria-label=\"{name}\">"));
    for (figure, text) in tiles {
        let text = escape(&text);
        put(html, format_args!("<div><strong>{figure}</strong><span>{text}</span></div>"));
    }
    html.push_str("</section>");
}

fn some(figure: f64) -> Option<f64> {
    (figure > 0.0).then_some(figure)
}

fn at(round: &Round, name: &str, quantile: f64) -> Option<f64> {
    let times = round.times.get(name).filter(|times| times.count > 0)?;
    Some(times.at(quantile) as f64)
}

fn kib(bytes: Option<f64>) -> Option<f64> {
    bytes.map(|bytes| bytes / 1_024.0)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn load(round: &Round) -> Option<f64> {
    (round.accepted > 0 && round.load_cpu > 0)
        .then(|| round.load_cpu as f64 / round.accepted as f64)
}
