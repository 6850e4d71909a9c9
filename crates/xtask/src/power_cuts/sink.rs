//! The next hop of the guest: takes numbered messages and remembers when each
//! came. Every third is told to come again later, once, so that at any moment
//! some mail waits. A closed one tells that to all.
//!
//! Never forgets over a restart of the guest; it lives as long as the test.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::load;
use super::shared::Shared;

/// A guest that says nothing for so long was cut off.
const SILENCE: Duration = Duration::from_secs(60);

/// One arrival of a message.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// In which start of the guest.
    pub boot: u32,
    /// When.
    pub at: Instant,
}

/// What has come.
#[derive(Debug, Default)]
struct Taken {
    arrivals: BTreeMap<u64, Vec<Arrival>>,
    sent_away: BTreeSet<u64>,
    is_closed: bool,
    altered: Vec<String>,
}

/// The sink.
pub struct Sink {
    taken: Arc<Shared<Taken>>,
    boot: Arc<AtomicU32>,
    port: u16,
}

impl Sink {
    /// Listens on a free port; its threads end with this program.
    ///
    /// # Errors
    /// There is no port.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let (taken, boot) = (Arc::<Shared<Taken>>::default(), Arc::<AtomicU32>::default());
        let shared = (Arc::clone(&taken), Arc::clone(&boot));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (taken, boot) = (Arc::clone(&shared.0), Arc::clone(&shared.1));
                // A guest whose power went leaves in the middle.
                thread::spawn(move || serve(&client, &taken, &boot));
            }
        });
        Ok(Self { taken, boot, port })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing is taken, or all is again.
    pub fn close(&self, is_closed: bool) {
        self.taken.change(|taken| taken.is_closed = is_closed);
    }

    /// The guest is started again.
    pub fn next_boot(&self) {
        self.boot.fetch_add(1, Ordering::Relaxed);
    }

    /// All arrivals so far, by number.
    pub fn arrivals(&self) -> BTreeMap<u64, Vec<Arrival>> {
        self.taken.look().arrivals.clone()
    }

    /// Waits until more than so many of these have come. False: `time` was over
    /// before.
    pub fn wait_for_more(&self, count: usize, of: &BTreeSet<u64>, time: Duration) -> bool {
        let there = |taken: &Taken| of.iter().filter(|it| taken.arrivals.contains_key(it)).count();
        self.taken.wait(time, |taken| there(taken) > count)
    }

    /// Messages that were not as they had been sent.
    pub fn altered(&self) -> Vec<String> {
        self.taken.look().altered.clone()
    }
}

fn serve(client: &TcpStream, taken: &Shared<Taken>, boot: &AtomicU32) -> io::Result<()> {
    client.set_read_timeout(Some(SILENCE))?;
    client.set_write_timeout(Some(SILENCE))?;
    let (mut to, mut lines) = (client, BufReader::new(client).lines());
    // What belongs to this connection came in this start of the guest.
    let boot = boot.load(Ordering::Relaxed);
    to.write_all(b"220 sink.example\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        if verb != "DATA" {
            to.write_all(if verb == "QUIT" { b"221 bye\r\n" } else { b"250 ok\r\n" })?;
            continue;
        }
        to.write_all(b"354 go on\r\n")?;
        let mut content = Vec::new();
        loop {
            match lines.next().transpose()? {
                None => return Ok(()),
                Some(line) if line == "." => break,
                Some(line) => content.push(line),
            }
        }
        let said = taken.change(|taken| taken.take(&content, boot));
        to.write_all(said)?;
    }
    Ok(())
}

impl Taken {
    fn take(&mut self, content: &[String], boot: u32) -> &'static [u8] {
        let number =
            content.iter().find_map(|line| line.strip_prefix("X-Number: ")?.parse::<u64>().ok());
        let Some(number) = number else {
            self.altered.push("a message without its number".to_owned());
            return b"250 taken\r\n";
        };
        if self.is_closed || number.is_multiple_of(3) && self.sent_away.insert(number) {
            return b"451 4.3.0 come again\r\n";
        }
        let text: Vec<&str> =
            content.iter().map(String::as_str).skip_while(|line| !line.is_empty()).collect();
        let expected = load::text(number);
        if !text.iter().skip(1).copied().eq(expected.lines()) {
            self.altered.push(format!("message {number}"));
        }
        let arrival = Arrival { boot, at: Instant::now() };
        self.arrivals.entry(number).or_default().push(arrival);
        b"250 taken\r\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_one_takes_nothing() {
        let mut taken = Taken { is_closed: true, ..Taken::default() };
        let content = vec!["X-Number: 4".to_owned()];
        assert_eq!(taken.take(&content, 0), b"451 4.3.0 come again\r\n");
        assert!(taken.arrivals.is_empty());
    }

    #[test]
    fn every_third_comes_twice_and_an_altered_one_is_seen() {
        let mut taken = Taken::default();
        let content = |number: u64, text: &str| -> Vec<String> {
            let whole = format!("Received: x\r\nX-Number: {number}\r\n\r\n{text}");
            whole.lines().map(str::to_owned).collect()
        };
        assert_eq!(taken.take(&content(3, &load::text(3)), 0), b"451 4.3.0 come again\r\n");
        assert_eq!(taken.take(&content(3, &load::text(3)), 0), b"250 taken\r\n");
        assert_eq!(taken.take(&content(4, &load::text(4)), 1), b"250 taken\r\n");
        assert!(taken.altered.is_empty(), "{:?}", taken.altered);
        taken.take(&content(5, &load::text(4)), 1);
        assert_eq!(taken.altered, ["message 5"]);
        assert_eq!(taken.arrivals.len(), 3);
    }
}
