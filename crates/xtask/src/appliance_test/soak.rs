//! Mail at a modest rate through the guest for minutes on end: nothing is lost,
//! nothing grows, the watchdog is quiet and the clock right.
//!
//! What PID 1 says of itself and of the daemon every minute is compared with
//! what it said after the first ones; the daemon's own numbers are asked for.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::guest::{Boot, CONTROL_PORT, Guest};
use super::waiting::Waiting;
use super::{CLOCK_TIME, healthy, time};
use crate::image::Image;

/// How long, unless told otherwise.
pub const SECONDS: u32 = 600;
/// Each of four clients rests so long after a message.
const PAUSE: Duration = Duration::from_secs(2);
/// Between two looks at the daemon's numbers.
const LOOK: Duration = Duration::from_secs(15);
/// In the first minutes a line of its state comes as often.
const STATE_TIME: Duration = Duration::from_secs(61);
/// States before a machine is warm and its clock was set.
const WARM: usize = 2;
/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// Words of a state by which something grows: allocators and the kernel's
/// counting are allowed this much.
const GROWTH_KIB_MAX: u64 = 8 << 10;
const FILES_GROWTH_MAX: u64 = 16;
/// The emulated clock runs as the host lets it.
const CLOCK_MS_MAX: u64 = 2_000;
/// What must not be said meanwhile.
const TROUBLE: [&str; 6] = ["USERSPACE", "REBOOT", "daemon ended", "hung", "panic", "cannot"];

/// So many seconds of it.
///
/// # Errors
/// What was lost, grew, or went wrong.
pub fn run(image: &Image, folder: &Path, seconds: u32) -> io::Result<()> {
    let waiting = Waiting::start()?;
    waiting.open();
    let metrics = format!("[metrics]\nlisten = \"0.0.0.0:{CONTROL_PORT}\"\nanywhere = true\n");
    let disk = waiting.disk(image, folder, &metrics, &time::serve()?)?;
    let mut guest = healthy(image, folder, &disk, Boot::Kernel)?;
    guest.wait_for("clock: right", CLOCK_TIME)?;
    let load = waiting.load(&guest, PAUSE);
    let ends = Instant::now() + Duration::from_secs(seconds.into());
    let (mut looks, mut slowest) = (0, Duration::ZERO);
    while Instant::now() < ends {
        guest.quiet(LOOK, &TROUBLE)?;
        let asked = Instant::now();
        let numbers = numbers(&guest)?;
        slowest = slowest.max(asked.elapsed());
        looks += 1;
        for (name, wanted) in [
            ("ringpost_ready", 1),
            ("ringpost_storage_up", 1),
            ("ringpost_log_lines_lost_total", 0),
        ] {
            match number(&numbers, name) {
                Some(found) if found == wanted => {}
                found => return Err(guest.blamed(&format!("{name} is {found:?}"))),
            }
        }
    }
    load.end();
    waiting.all_arrive(&guest)?;
    println!("asked {looks} times for its numbers, at most {:.2} s", slowest.as_secs_f64());
    // The last line of its state is behind all that happened.
    guest.quiet(STATE_TIME, &TROUBLE)?;
    judge(&guest)
}

/// Compares the first states of a warm machine with the last.
fn judge(guest: &Guest) -> io::Result<()> {
    let states: Vec<String> = guest.said("state: ");
    states.iter().for_each(|state| println!("{state}"));
    let numbers: Vec<State> = states.iter().filter_map(|line| State::read(line)).collect();
    let (Some(first), Some(last)) = (numbers.get(WARM), numbers.last()) else {
        return Err(guest.blamed("too little is said of its state"));
    };
    if numbers.len() != states.len() || !states.iter().all(|state| state.contains("healthy")) {
        return Err(guest.blamed("a state is not as it should be"));
    }
    let grown = [
        ("PID 1's memory", first.own_kib, last.own_kib, GROWTH_KIB_MAX),
        ("PID 1's files", first.own_files, last.own_files, FILES_GROWTH_MAX),
        ("the daemon's memory", first.daemon_kib, last.daemon_kib, GROWTH_KIB_MAX),
        ("the daemon's files", first.daemon_files, last.daemon_files, FILES_GROWTH_MAX),
    ];
    for (what, before, after, most) in grown {
        println!("{what}: {before}, then {after}");
        if after > before + most {
            return Err(io::Error::other(format!("{what} grew from {before} to {after}")));
        }
    }
    let is_right = |state: &State| state.clock_ms.is_some_and(|ms| ms <= CLOCK_MS_MAX);
    match numbers.iter().skip(WARM).find(|state| !is_right(state)) {
        Some(state) => Err(io::Error::other(format!("the clock is not right: {state:?}"))),
        None => Ok(()),
    }
}

/// What a line of its state says.
#[derive(Debug, PartialEq, Eq)]
struct State {
    own_kib: u64,
    own_files: u64,
    daemon_kib: u64,
    daemon_files: u64,
    /// None before it was compared again after it was set.
    clock_ms: Option<u64>,
}

impl State {
    fn read(line: &str) -> Option<Self> {
        let after = |text: &str, mark: &str| {
            let (_, rest) = text.split_once(mark)?;
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some((digits.parse::<u64>().ok()?, rest.to_owned()))
        };
        let (own_kib, rest) = after(line, "PID 1 ")?;
        let (own_files, _) = after(&rest, "KiB ")?;
        let (daemon_kib, rest) = after(line, "daemon ")?;
        let (daemon_files, rest) = after(&rest, "KiB ")?;
        let clock_ms = after(&rest, "clock off by ").map(|(ms, _)| ms);
        Some(Self { own_kib, own_files, daemon_kib, daemon_files, clock_ms })
    }
}

/// The daemon's numbers, as Prometheus reads them.
fn numbers(guest: &Guest) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", guest.control()))?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

/// The value of a number without labels.
fn number(numbers: &str, name: &str) -> Option<u64> {
    let value = numbers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read() {
        let line = "[   70.00] state: healthy, version 0.1.0, 10.0.2.15/24, up 1 min; PID 1 3000 \
                    KiB 17 files, daemon 61000 KiB 43 files; clock off by 3 ms";
        let state = State::read(line).unwrap();
        let expected = State {
            own_kib: 3_000,
            own_files: 17,
            daemon_kib: 61_000,
            daemon_files: 43,
            clock_ms: Some(3),
        };
        assert_eq!(state, expected);
        let early = line.replace("clock off by 3 ms", "clock not compared");
        assert_eq!(State::read(&early).unwrap().clock_ms, None);
        assert_eq!(State::read("state: healthy"), None);
    }

    #[test]
    fn a_number_is_found_by_its_whole_name() {
        let numbers = "# TYPE a gauge\na_b 7\na 1\n";
        assert_eq!(number(numbers, "a"), Some(1));
        assert_eq!(number(numbers, "b"), None);
    }
}
