//! `ringpost top`: the daemon on one screen, as it goes. What is shown is made
//! in `top/model.rs` and `top/draw.rs`; here are the terminal, the keys and the
//! threads that bring news.
//!
//! Invariant: however it ends, by a key, a signal or a panic, the terminal is
//! as it was.

mod draw;
mod feed;
mod model;
mod seen;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use clap::Args;
use control::api::SiteOrder;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Terminal};
use runtime::signals::Signals;

use crate::Socket;
use crate::print;
use crate::verbs::told;
use draw::{Palette, draw};
use feed::{Asked, Told};
use model::{Top, Wish};

/// How often time is looked at while nothing happens.
const TICK: Duration = Duration::from_millis(250);
/// Size of a frame that goes to no terminal.
const PLAIN: (u16, u16) = (120, 40);

/// Arguments of `top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Print one frame as plain text, and end
    #[arg(long)]
    once: bool,
    /// Only sites with this in their name
    #[arg(long, default_value = "")]
    name: String,
    #[command(flatten)]
    socket: Socket,
}

/// What happens, from wherever it comes.
enum News {
    Key(KeyCode),
    Redraw,
    Told(Told),
    Stop,
}

/// `ringpost top`
pub fn run(args: &TopArgs) -> ExitCode {
    if args.once || args.socket.json {
        return once(args);
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        eprintln!("this is no terminal: `ringpost top --once` prints one frame");
        return ExitCode::from(2);
    }
    // Before any thread starts, so that none of them is ended by one.
    let signals = match Signals::take() {
        Ok(signals) => signals,
        Err(error) => return failed(&error),
    };
    match shown(args, signals) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> ExitCode {
    eprintln!("the terminal cannot be used: {error}");
    ExitCode::from(70)
}

/// One frame as text.
fn once(args: &TopArgs) -> ExitCode {
    let (before, now) = match feed::twice(&args.socket.at(), &args.name, SiteOrder::default()) {
        Ok(looks) => looks,
        Err(failure) => return told(failure),
    };
    let mut top = Top::new(&args.name);
    top.heard(0, before);
    top.heard(1_000, now);
    let frame = frame_text(&top, columns_wanted(), PLAIN.1);
    print::put(&frame).map_or_else(|code| code, |()| ExitCode::SUCCESS)
}

/// As wide as whoever called says, within reason.
fn columns_wanted() -> u16 {
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    said.filter(|columns| (20..=500).contains(columns)).unwrap_or(PLAIN.0)
}

/// A frame as lines of text without colours.
fn frame_text(top: &Top, width: u16, height: u16) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(frame) = terminal.draw(|frame| draw(frame, top, Palette { coloured: false }));
    plain(frame.buffer)
}

fn plain(buffer: &Buffer) -> String {
    let area = buffer.area;
    let mut text = String::new();
    for y in area.top()..area.bottom() {
        let mut line = String::new();
        for x in area.left()..area.right() {
            line.push_str(buffer[(x, y)].symbol());
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    // Rows that nothing stands in are of no use on paper.
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    text
}

/// The screen, until somebody has seen enough.
fn shown(args: &TopArgs, signals: Signals) -> io::Result<()> {
    let (news, coming) = channel();
    let (ask, asked) = channel();
    let mut top = Top::new(&args.name);
    let _ = ask.send(Asked::Look(top.filter.clone(), top.sort));
    let (socket, told) = (args.socket.at(), news.clone());
    let spawn = std::thread::Builder::new;
    spawn().name("feed".into()).spawn(move || {
        feed::run(&socket, &asked, |it| told.send(News::Told(it)).is_ok());
    })?;
    let stop = news.clone();
    spawn().name("signals".into()).spawn(move || {
        signals.wait();
        let _ = stop.send(News::Stop);
    })?;
    // Restores the terminal where the program panics, too.
    let mut terminal = ratatui::try_init()?;
    let begun = spawn().name("keys".into()).spawn(move || keys(&news));
    let ended = match begun {
        Ok(_) => go_on(&mut terminal, &mut top, &coming, &ask),
        Err(error) => Err(error),
    };
    ratatui::restore();
    ended
}

fn go_on(
    terminal: &mut DefaultTerminal,
    top: &mut Top,
    coming: &Receiver<News>,
    ask: &Sender<Asked>,
) -> io::Result<()> {
    let begun = Instant::now();
    let palette = Palette { coloured: std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()) };
    loop {
        terminal.draw(|frame| draw(frame, top, palette))?;
        let next = coming.recv_timeout(TICK);
        let now_ms = begun.elapsed().as_millis() as u64;
        top.tick(now_ms);
        let wish = match next {
            Ok(News::Stop) => return Ok(()),
            Ok(News::Key(code)) => top.key(code),
            Ok(News::Told(it)) => {
                match it {
                    Told::Seen(seen) => top.heard(now_ms, *seen),
                    Told::Missed(why) => top.missed(now_ms, why),
                    Told::Done(words) => top.told(now_ms, words),
                }
                Wish::Nothing
            }
            Ok(News::Redraw) | Err(_) => Wish::Nothing,
        };
        match wish {
            Wish::Nothing => {}
            Wish::Quit => return Ok(()),
            Wish::Look => {
                let _ = ask.send(Asked::Look(top.filter.clone(), top.sort));
            }
            Wish::Do(order) => {
                let _ = ask.send(Asked::Do(order));
            }
        }
    }
}

/// Passes keys on until nobody listens, or there is no terminal any more.
fn keys(news: &Sender<News>) {
    loop {
        let heard = match event::read() {
            Ok(Event::Key(key)) if key.kind == KeyEventKind::Release => continue,
            Ok(Event::Key(key)) if key.modifiers.contains(KeyModifiers::CONTROL) => {
                match key.code {
                    KeyCode::Char('c' | 'd') => News::Stop,
                    _ => continue,
                }
            }
            Ok(Event::Key(key)) => News::Key(key.code),
            Ok(_) => News::Redraw,
            Err(_) => News::Stop,
        };
        let last = matches!(heard, News::Stop);
        if news.send(heard).is_err() || last {
            return;
        }
    }
}
