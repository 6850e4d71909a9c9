//! A plain SMTP client, one command at a time, for mail that a story words
//! itself.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use super::wait::PATIENCE;

/// A session.
#[derive(Debug)]
pub struct Client(BufReader<TcpStream>);

/// A reply: its code, and all its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 0 when the connection ended instead.
    pub code: u16,
    /// As received.
    pub text: String,
}

impl Client {
    /// Connects and reads the greeting.
    ///
    /// # Panics
    /// Nobody listens there.
    pub fn connect(to: SocketAddr) -> (Self, Reply) {
        let stream = TcpStream::connect(to).unwrap_or_else(|e| panic!("connect to {to}: {e}"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time-out");
        stream.set_nodelay(true).expect("a socket can be told not to wait");
        let mut client = Self(BufReader::new(stream));
        let greeting = client.reply();
        (client, greeting)
    }

    /// Connects and says EHLO.
    pub fn greet(to: SocketAddr) -> Self {
        let (mut client, greeting) = Self::connect(to);
        assert_eq!(greeting.code, 220, "{}", greeting.text);
        client.expect("EHLO story.example", 250);
        client
    }

    /// Sends one line and reads its reply.
    pub fn say(&mut self, line: &str) -> Reply {
        // A peer that has gone shows as the reply that does not come.
        let _ = self.0.get_mut().write_all(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// Sends one line that must be answered with `code`.
    pub fn expect(&mut self, line: &str, code: u16) -> Reply {
        let reply = self.say(line);
        assert_eq!(reply.code, code, "{line}: {}", reply.text);
        reply
    }

    /// Sends a message; `content` has CRLF lines and needs no stuffing. The
    /// reply is that to the final dot, or the first refusal before it.
    pub fn send(&mut self, from: &str, to: &[&str], content: &str) -> Reply {
        let mail = self.say(&format!("MAIL FROM:<{from}>"));
        if mail.code != 250 {
            return mail;
        }
        for recipient in to {
            // A recipient may bring parameters behind its address.
            let (address, parameters) = recipient.split_once(' ').unwrap_or((recipient, ""));
            let rcpt = self.say(format!("RCPT TO:<{address}> {parameters}").trim_end());
            if rcpt.code != 250 {
                self.say("RSET");
                return rcpt;
            }
        }
        let data = self.say("DATA");
        if data.code != 354 {
            self.say("RSET");
            return data;
        }
        self.say(&format!("{content}."))
    }

    /// Reads the next reply.
    pub fn reply(&mut self) -> Reply {
        let mut reply = Reply { code: 0, text: String::new() };
        loop {
            let mut line = String::new();
            match self.0.read_line(&mut line) {
                Ok(0) | Err(_) => return Reply { code: 0, ..reply },
                Ok(_) => {}
            }
            reply.text.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                reply.code = line.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
                return reply;
            }
        }
    }
}

/// Hands one message in; it must be accepted.
pub fn submit(at: SocketAddr, from: &str, to: &[&str]) {
    let mut client = Client::greet(at);
    let reply = client.send(from, to, &text_to(from, to));
    assert_eq!(reply.code, 250, "{from} to {to:?}: {}", reply.text);
    client.say("QUIT");
}

/// A small message.
pub fn text_to(from: &str, to: &[&str]) -> String {
    let to: Vec<&str> = to.iter().map(|it| it.split(' ').next().unwrap_or_default()).collect();
    format!(
        "From: <{from}>\r\nTo: {}\r\nSubject: story\r\n\r\nOnce upon a time.\r\n",
        to.iter().map(|to| format!("<{to}>")).collect::<Vec<_>>().join(", ")
    )
}
