//! Both ends of a message's way through the guest: a client of SMTP just large
//! enough for one message, and the sink of `ringpost bench` on this machine.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long the server may take for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);
const START_TIME: Duration = Duration::from_secs(30);

/// Hands one message to the server at a port of this machine.
///
/// # Errors
/// It refused, or said nothing.
pub fn send_one(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    expect(&mut answers, "220")?;
    let message = "Subject: through the appliance\r\n\r\nHello.\r\n.\r\n";
    for (line, code) in [
        ("EHLO client.example\r\n", "250"),
        ("MAIL FROM:<a@client.example>\r\n", "250"),
        ("RCPT TO:<b@d001.example>\r\n", "250"),
        ("DATA\r\n", "354"),
        (message, "250"),
        ("QUIT\r\n", "221"),
    ] {
        stream.write_all(line.as_bytes())?;
        expect(&mut answers, code)?;
    }
    Ok(())
}

/// Reads one answer, of any number of lines.
///
/// # Errors
/// It has another code, or does not come.
pub fn expect(answers: &mut impl BufRead, code: &str) -> io::Result<()> {
    loop {
        let mut line = String::new();
        if answers.read_line(&mut line)? == 0 {
            return Err(io::Error::other(format!("the server left before its {code}")));
        }
        if !line.starts_with(code) {
            return Err(io::Error::other(format!("{code} expected, {}", line.trim_end())));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}

/// A sink as a process of its own; dropped is killed.
pub struct Sink {
    child: Child,
    lines: Receiver<String>,
    port: u16,
}

impl Sink {
    /// Starts it on a free port of this address of this machine.
    ///
    /// # Errors
    /// It does not say where it listens.
    pub fn start(program: &Path, address: &str) -> io::Result<Self> {
        let words = ["bench", "sink", "--listen", address, "--progress"];
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = BufReader::new(child.stdout.take().expect("its output was asked for"));
        let (say, lines) = channel();
        thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        let mut sink = Self { child, lines, port: 0 };
        let line = sink.wait_for("listening ", START_TIME)?;
        let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        sink.port = port.ok_or_else(|| io::Error::other(format!("no port in: {line}")))?;
        Ok(sink)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until a message has come.
    ///
    /// # Errors
    /// None came in `time`.
    pub fn wait_for_one(&mut self, time: Duration) -> io::Result<()> {
        self.wait_for("taken 1", time).map(drop)
    }

    fn wait_for(&mut self, mark: &str, time: Duration) -> io::Result<String> {
        let ends = Instant::now() + time;
        loop {
            let left = ends.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.starts_with(mark) => return Ok(line),
                Ok(_) => {}
                Err(error) => {
                    return Err(io::Error::other(format!("sink: no `{mark}`: {error}")));
                }
            }
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // One that has ended by itself needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_an_answer_ends_it() {
        let mut answer: &[u8] = b"250-a\r\n250-b\r\n250 c\r\n354 next\r\n";
        expect(&mut answer, "250").unwrap();
        expect(&mut answer, "354").unwrap();
        assert!(expect(&mut answer, "250").is_err(), "the end");
        let mut refusal: &[u8] = b"550 5.7.1 no\r\n";
        assert!(expect(&mut refusal, "250").is_err());
    }
}
