//! A relay of a story's own that lets in whoever brings the token of the day,
//! by XOAUTH2 alone, in the clear; it refuses the others in JSON, and then with
//! 535, as the large providers do.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::wait::PATIENCE;

/// A running relay; it ends with the test.
#[derive(Debug)]
pub struct Minted {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What AUTH must say.
    response: String,
    /// What became of each log-in.
    log_ins: Vec<bool>,
    messages: u32,
}

impl Minted {
    /// Takes mail of `user` with `token`.
    pub fn start(user: &str, token: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::<Mutex<State>>::default();
        let relay = Self { address, state };
        relay.honour(user, token);
        let state = relay.state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = state.clone();
                // A client that goes away is no failure of the story.
                std::thread::spawn(move || drop(serve(&client, &state)));
            }
        });
        relay
    }

    /// From now on only this token is good.
    pub fn honour(&self, user: &str, token: &str) {
        self.lock().response = response(user, token);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What became of the log-ins since the last time this was asked: true, it
    /// was let in.
    pub fn log_ins(&self) -> Vec<bool> {
        std::mem::take(&mut self.lock().log_ins)
    }

    /// Messages taken.
    pub fn count(&self) -> u32 {
        self.lock().messages
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no story panics with it")
    }
}

fn serve(client: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    client.set_read_timeout(Some(PATIENCE.max(Duration::from_secs(60))))?;
    let mut reader = BufReader::new(client);
    let mut line = String::new();
    let (mut known, mut in_data) = (false, false);
    let say = |text: &str| -> std::io::Result<()> {
        let mut client = client;
        client.write_all(text.as_bytes())
    };
    say("220 relay.example ESMTP\r\n")?;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let said = line.trim_end();
        let mut state = state.lock().expect("no story panics with it");
        match said.split(' ').next().unwrap_or_default() {
            "." if in_data => {
                in_data = false;
                state.messages += 1;
                say("250 2.0.0 taken\r\n")?;
            }
            _ if in_data => {}
            "EHLO" => say("250-relay.example\r\n250 AUTH XOAUTH2\r\n")?,
            "AUTH" => {
                known = said == format!("AUTH XOAUTH2 {}", state.response);
                state.log_ins.push(known);
                match known {
                    true => say("235 2.7.0 welcome\r\n")?,
                    false => say(&format!("334 {}\r\n", base64(br#"{"status":"401"}"#)))?,
                }
            }
            "" => say("535 5.7.8 the token is no good\r\n")?,
            "MAIL" if !known => say("530 5.7.0 who are you?\r\n")?,
            "MAIL" | "RCPT" | "RSET" => say("250 2.0.0 fine\r\n")?,
            "DATA" => {
                in_data = true;
                say("354 go on\r\n")?;
            }
            "QUIT" => return say("221 2.0.0 bye\r\n"),
            _ => say("502 5.5.1 what?\r\n")?,
        }
    }
}

/// What XOAUTH2 says for a user with a token.
pub fn response(user: &str, token: &str) -> String {
    base64(format!("user={user}\x01auth=Bearer {token}\x01\x01").as_bytes())
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut coded = String::new();
    for chunk in bytes.chunks(3) {
        let padded = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63] as char;
            coded.push(if place > chunk.len() { '=' } else { letter });
        }
    }
    coded
}
