//! Clients that hand over numbered messages until the power goes, and remember
//! which were acknowledged.
//!
//! Never sends a number twice: one that was not acknowledged may have been
//! taken all the same, and is nobody's loss.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::shared::Shared;
use crate::appliance_test::mail::expect;

/// Sessions held at the same time.
const CLIENTS: usize = 4;
/// Octets of a message's text.
const TEXT_BYTES: usize = 2048;
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Between two tries to reach a server that does not answer yet.
const REST: Duration = Duration::from_millis(200);

/// What all clients of a test have reached.
#[derive(Debug, Default)]
pub struct Sent {
    next: AtomicU64,
    acknowledged: Shared<BTreeSet<u64>>,
}

impl Sent {
    /// The numbers that a 250 was heard for.
    pub fn acknowledged(&self) -> BTreeSet<u64> {
        self.acknowledged.look().clone()
    }

    /// How many those are.
    pub fn count(&self) -> usize {
        self.acknowledged.look().len()
    }

    /// Waits until they are so many. False: `time` was over before.
    pub fn wait(&self, count: usize, time: Duration) -> bool {
        self.acknowledged.wait(time, |numbers| numbers.len() >= count)
    }

    fn one_more(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn heard(&self, number: u64) {
        self.acknowledged.change(|numbers| numbers.insert(number));
    }
}

/// Clients of one start of the guest.
pub struct Load {
    stop: Arc<Shared<bool>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts them against a port of this machine; each rests for `pause` after
    /// a message.
    pub fn start(port: u16, sent: &Arc<Sent>, pause: Duration) -> Self {
        let stop = Arc::<Shared<bool>>::default();
        let clients = (0..CLIENTS).map(|_| {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(sent));
            thread::spawn(move || {
                // The power went, or the server is not there yet.
                while !stop.wait(REST, |stop| *stop) {
                    let _ = session(port, &sent, &stop, pause);
                }
            })
        });
        let clients = clients.collect();
        Self { stop, clients }
    }

    /// Ends them, once the server is gone or has answered.
    pub fn end(self) {
        self.stop.change(|stop| *stop = true);
        for client in self.clients {
            // One that panicked has acknowledged nothing it did not hear.
            let _ = client.join();
        }
    }
}

fn session(port: u16, sent: &Sent, stop: &Shared<bool>, pause: Duration) -> io::Result<()> {
    let mut to =
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), ANSWER_TIME)?;
    to.set_read_timeout(Some(ANSWER_TIME))?;
    to.set_write_timeout(Some(ANSWER_TIME))?;
    let mut answers = BufReader::new(to.try_clone()?);
    expect(&mut answers, "220")?;
    let mut say = |words: &str, code: &str| {
        to.write_all(words.as_bytes())?;
        expect(&mut answers, code)
    };
    say("EHLO client.example\r\n", "250")?;
    while !stop.wait(pause, |stop| *stop) {
        let number = sent.one_more();
        say("MAIL FROM:<a@client.example>\r\n", "250")?;
        say("RCPT TO:<b@d001.example>\r\n", "250")?;
        say("DATA\r\n", "354")?;
        say(&message(number), "250")?;
        sent.heard(number);
    }
    Ok(())
}

/// A message whose text follows from its number.
fn message(number: u64) -> String {
    format!("X-Number: {number}\r\nSubject: a power cut\r\n\r\n{}.\r\n", text(number))
}

/// The text of a message: lines in which every octet depends on the number.
pub fn text(number: u64) -> String {
    let line = format!("message {number} is all here and nothing of another\r\n");
    line.repeat(TEXT_BYTES / line.len())
}
