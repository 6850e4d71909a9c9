//! One frame of the screen. Pure: the state in, cells out.
//!
//! Never asks for a size or a time. Invariants: any size is drawn, down to one
//! cell; what does not fit is left out from the least needed on.

use control::api::SiteOrder;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Sparkline, Table, TableState};

use super::model::{Mode, Top};
use super::seen::{Seen, SiteSeen};
use crate::print::span;

/// Rows of figures beside the sparklines.
const FIGURE_ROWS: u16 = 4;
/// Shards whose load is told in numbers.
const LOADS_IN_NUMBERS: usize = 6;
/// Eighths of a processor.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Failures that are shown at most.
const FAILURE_ROWS: u16 = 6;

/// Colours, or none of them where the operator wants none.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    pub coloured: bool,
}

impl Palette {
    fn of(self, color: Color) -> Style {
        if self.coloured { Style::new().fg(color) } else { Style::new() }
    }

    fn quiet(self) -> Style {
        if self.coloured { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }

    fn state(self, state: &str) -> Style {
        match state {
            "up" => self.of(Color::Green),
            "down" | "look-up failed" | "rejected" => {
                self.of(Color::Red).add_modifier(Modifier::BOLD)
            }
            "suspended" | "probing" => self.of(Color::Yellow),
            _ => Style::new(),
        }
    }
}

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, top: &Top, palette: Palette) {
    let area = frame.area();
    let failures = top.seen.as_ref().map_or(0, |seen| seen.failures.len() as u16);
    let failure_rows = match area.height {
        0..20 => 0,
        _ => failures.clamp(1, FAILURE_ROWS) + 1,
    };
    let figure_rows = if area.height < 10 { 0 } else { FIGURE_ROWS };
    let [head, figures, table, below, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(figure_rows),
        Constraint::Min(0),
        Constraint::Length(failure_rows),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(frame, head, top, palette);
    if let Some(seen) = &top.seen {
        draw_figures(frame, figures, top, seen, palette);
        draw_sites(frame, table, top, seen, palette);
        draw_failures(frame, below, seen, palette);
    }
    draw_foot(frame, foot, top, palette);
    if top.mode == Mode::Helping {
        draw_help(frame, area);
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, top: &Top, palette: Palette) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut spans = vec![Span::styled("ringpost", bold)];
    if let Some(seen) = &top.seen {
        spans.push(Span::raw(format!("  {}  up {}", seen.host, span(seen.uptime_ms))));
    }
    if let Some(away) = top.away_ms() {
        let words = match (&top.seen, &top.trouble) {
            (None, None) => "  waiting for the daemon".to_owned(),
            _ => format!("  waiting for the daemon, {}", span(away / 1_000 * 1_000)),
        };
        spans.push(Span::styled(words, palette.of(Color::Red).add_modifier(Modifier::BOLD)));
        if let Some(why) = &top.trouble {
            spans.push(Span::styled(format!("  {}", crate::print::clean(why)), palette.quiet()));
        }
    } else if let Some(seen) = &top.seen {
        let (words, style) = verdict(seen, palette);
        spans.push(Span::styled(format!("  {words}"), style));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

/// What is wrong, in a few words.
fn verdict(seen: &Seen, palette: Palette) -> (String, Style) {
    let (red, yellow) = (palette.of(Color::Red), palette.of(Color::Yellow));
    let (bad, warn) = (red.add_modifier(Modifier::BOLD), yellow.add_modifier(Modifier::BOLD));
    let down = seen.sites.iter().filter(|site| site.state == "down").count();
    match seen {
        _ if seen.storage == "failed" => ("STORAGE FAILED".into(), bad),
        _ if seen.storage == "no room" => ("NO ROOM: mail is refused".into(), bad),
        _ if seen.draining => ("stopping".into(), warn),
        _ if !seen.orders.is_empty() => (format!("stopped: {}", seen.orders.join("; ")), warn),
        _ if !seen.alerts.is_empty() => (format!("alert: {}", seen.alerts.join("; ")), warn),
        _ if down == 1 => ("1 site does not answer".into(), warn),
        _ if down > 1 => (format!("{down} sites do not answer"), warn),
        _ => ("ok".into(), palette.of(Color::Green)),
    }
}

fn draw_figures(frame: &mut Frame<'_>, area: Rect, top: &Top, seen: &Seen, palette: Palette) {
    if area.height < FIGURE_ROWS {
        return;
    }
    let right = if area.width >= 76 { 44 } else { 0 };
    let [left, right] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(right)]).spacing(2).areas(area);
    let rates = [
        ("taken", &top.rates.accepted, Color::Blue),
        ("delivered", &top.rates.delivered, Color::Green),
        ("put off", &top.rates.deferred, Color::Yellow),
        ("given back", &top.rates.failed, Color::Magenta),
    ];
    let rows = Layout::vertical([Constraint::Length(1); FIGURE_ROWS as usize]).split(left);
    for ((name, values, color), row) in rates.into_iter().zip(rows.iter()) {
        let [label, line] =
            Layout::horizontal([Constraint::Length(23), Constraint::Min(0)]).areas(*row);
        let latest = values.back().map_or_else(|| "-".to_owned(), |rate| rate_text(*rate));
        frame.render_widget(Paragraph::new(format!("{name:<11}{latest:>8}/s")), label);
        // A tenth of one a second is seen, too.
        let wide = usize::from(line.width);
        let skip = values.len().saturating_sub(wide);
        let data: Vec<u64> = values.iter().skip(skip).map(|rate| (rate * 10.0) as u64).collect();
        frame.render_widget(Sparkline::default().data(data).style(palette.of(color)), line);
    }
    let text = vec![
        Line::from(format!(
            "waiting   {} ({} ready, {} put off)",
            seen.waiting(),
            seen.ready,
            seen.put_off
        )),
        Line::from(format!("under way {}, held {}", seen.in_flight, seen.held)),
        Line::from(format!(
            "sessions  {} in, {} out   disk {} free",
            seen.sessions_in,
            seen.sessions_out,
            size_text(seen.free_bytes)
        )),
        Line::from(format!("load      {}", load_text(&top.rates.load))),
    ];
    frame.render_widget(Paragraph::new(text), right);
}

/// Heading, width and order of a column; text comes from `cell`.
type Column = (&'static str, u16, Option<SiteOrder>);

/// The columns in front of the last one, which is as wide as there is room.
const COLUMNS: [Column; 8] = [
    ("SITE", 0, Some(SiteOrder::Name)),
    ("STATE", 14, Some(SiteOrder::State)),
    ("WAIT", 8, Some(SiteOrder::Count)),
    ("READY", 7, Some(SiteOrder::Ready)),
    ("PUT OFF", 8, Some(SiteOrder::Deferred)),
    ("GOING", 6, Some(SiteOrder::InFlight)),
    ("HELD", 6, Some(SiteOrder::Held)),
    ("CONN", 5, Some(SiteOrder::Connections)),
];

/// Columns that fit, the least needed left out first.
fn columns(width: u16) -> Vec<usize> {
    match width {
        0..60 => vec![0, 1, 2],
        60..90 => vec![0, 1, 2, 3, 4, 7],
        _ => (0..COLUMNS.len()).collect(),
    }
}

fn draw_sites(frame: &mut Frame<'_>, area: Rect, top: &Top, seen: &Seen, palette: Palette) {
    if area.height < 3 {
        return;
    }
    let shown = columns(area.width);
    let words = area.width >= 110;
    let mut title = format!(" sites {} ", seen.sites_total);
    if !top.filter.is_empty() || top.mode == Mode::Filtering {
        let cursor = if top.mode == Mode::Filtering { "_" } else { "" };
        title.push_str(&format!("/{}{cursor} ", top.filter));
    }
    let block = Block::new().borders(Borders::TOP).title(title);
    let heading = |at: &usize| {
        let (name, _, order) = COLUMNS[*at];
        let mark = if order == Some(top.sort) { "▾" } else { "" };
        let text =
            if *at < 2 { format!("{name}{mark}") } else { right(&format!("{mark}{name}"), *at) };
        Cell::from(text)
    };
    let mut heads: Vec<Cell<'_>> = shown.iter().map(heading).collect();
    let site_width = if words { Constraint::Fill(1) } else { Constraint::Min(8) };
    let mut widths: Vec<Constraint> = shown
        .iter()
        .map(|at| if *at == 0 { site_width } else { Constraint::Length(COLUMNS[*at].1) })
        .collect();
    if words {
        heads.push("LAST TROUBLE".into());
        widths.push(Constraint::Fill(1));
    }
    let rows = seen.sites.iter().map(|site| {
        let mut cells: Vec<Cell<'_>> = shown.iter().map(|at| cell(site, *at, palette)).collect();
        if words {
            cells.push(Cell::from(site.words.as_str()).style(palette.quiet()));
        }
        Row::new(cells)
    });
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    let table = Table::new(rows, widths)
        .header(Row::new(heads).style(Style::new().add_modifier(Modifier::BOLD)))
        .row_highlight_style(reversed)
        .column_spacing(1)
        .block(block);
    let mut state = TableState::new().with_selected(top.row());
    frame.render_stateful_widget(table, area, &mut state);
}

fn cell<'s>(site: &'s SiteSeen, column: usize, palette: Palette) -> Cell<'s> {
    let number = match column {
        0 => return Cell::from(site.name.as_str()),
        1 => return Cell::from(site.state.as_str()).style(palette.state(&site.state)),
        2 => site.count,
        3 => site.ready,
        4 => site.deferred,
        5 => site.in_flight,
        6 => site.held,
        _ => site.connections,
    };
    Cell::from(right(&number.to_string(), column))
}

fn right(text: &str, column: usize) -> String {
    format!("{text:>width$}", width = usize::from(COLUMNS[column].1))
}

fn draw_failures(frame: &mut Frame<'_>, area: Rect, seen: &Seen, palette: Palette) {
    if area.height < 2 {
        return;
    }
    let block = Block::new().borders(Borders::TOP).title(" what goes wrong, of the last hour ");
    let mut lines: Vec<Line<'_>> = seen
        .failures
        .iter()
        .take(usize::from(area.height) - 1)
        .map(|failure| {
            let color = if failure.event == "deferred" { Color::Yellow } else { Color::Magenta };
            Line::from(vec![
                Span::styled(format!("{:>6}x ", failure.count), palette.of(color)),
                Span::raw(format!("{:<12}", failure.event)),
                Span::raw(format!("{}  ", failure.site)),
                Span::raw(failure.words.as_str()),
            ])
        })
        .collect();
    if lines.is_empty() {
        lines.push(Line::styled("nothing", palette.quiet()));
    }
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, top: &Top, palette: Palette) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let line = match (&top.mode, top.said()) {
        (Mode::Asking(order), _) => {
            let style = palette.of(Color::Yellow).add_modifier(Modifier::BOLD);
            Line::styled(order.question(), style)
        }
        (Mode::Filtering, _) => {
            Line::raw("a part of the name; Enter keeps it, Esc shows all sites")
        }
        (_, Some(said)) => Line::styled(crate::print::clean(said), bold),
        _ => Line::styled(
            "q quit  ? help  / filter  o order  s suspend  r resume  f flush",
            palette.quiet(),
        ),
    };
    frame.render_widget(Paragraph::new(line), area);
}

/// The keys, each with what it does.
const HELP: [(&str, &str); 10] = [
    ("q, Ctrl-C", "quit"),
    ("Up, Down, k, j", "choose a site"),
    ("PgUp, PgDn, g, G", "further, first, last"),
    ("o, O", "the next order, the one before"),
    ("/", "only sites with this in their name"),
    ("Esc", "all sites again"),
    ("s", "stop delivery to the chosen site"),
    ("r", "go on with it"),
    ("f", "try its mail now; limits are kept"),
    ("?", "this; any key goes back"),
];

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let (width, height) = (56.min(area.width), (HELP.len() as u16 + 2).min(area.height));
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let lines: Vec<Line<'_>> =
        HELP.iter().map(|(key, words)| Line::raw(format!(" {key:<18}{words}"))).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" keys ")), place);
}

/// The load of each shard: in numbers as long as there is room, then as bars
/// with the highest.
fn load_text(loads: &[f64]) -> String {
    let percent = |share: &f64| format!("{:.0}%", share * 100.0);
    if loads.len() <= LOADS_IN_NUMBERS {
        return loads.iter().map(percent).collect::<Vec<_>>().join(" ");
    }
    let bar = |share: &f64| BARS[((share * 8.0) as usize).min(BARS.len() - 1)];
    let highest = loads.iter().copied().fold(0.0, f64::max);
    format!("{} {}", loads.iter().map(bar).collect::<String>(), percent(&highest))
}

/// Something a second, in at most seven characters.
fn rate_text(rate: f64) -> String {
    match rate {
        ..0.05 => "0".into(),
        0.05..99.95 => format!("{rate:.1}"),
        _ => format!("{rate:.0}"),
    }
}

fn size_text(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1_000.0 && unit < units.len() - 1 {
        (size, unit) = (size / 1_024.0, unit + 1);
    }
    if unit == 0 || size >= 99.5 {
        return format!("{size:.0} {}", units[unit]);
    }
    format!("{size:.1} {}", units[unit])
}
