//! What clients write and read, as bytes on the wire.
//!
//! Shares no code with the server it talks to.

use base::MessageId;

use crate::observation::{Letter, notify};

/// MAIL with what the letter asks for.
pub(super) fn mail_line(letter: &Letter, helo: bool) -> Vec<u8> {
    let mut line = format!("MAIL FROM:<{}>", letter.sender);
    if !helo {
        if letter.content.iter().any(|b| *b > 127) {
            line += " BODY=8BITMIME";
        }
        if letter.ret != 0 {
            line += if letter.ret == b'F' { " RET=FULL" } else { " RET=HDRS" };
        }
        if let Some(envid) = &letter.envid {
            line = line + " ENVID=" + envid;
        }
    }
    (line + "\r\n").into_bytes()
}

/// RCPT with what the letter asks for.
pub(super) fn rcpt_line(letter: &Letter, index: usize, helo: bool) -> Vec<u8> {
    let to = &letter.to[index];
    let mut line = format!("RCPT TO:<{}>", to.address);
    if !helo {
        let words = [
            (notify::SUCCESS, "SUCCESS"),
            (notify::FAILURE, "FAILURE"),
            (notify::DELAY, "DELAY"),
            (notify::NEVER, "NEVER"),
        ];
        let asked: Vec<&str> =
            words.iter().filter(|(bit, _)| to.notify & bit != 0).map(|(_, word)| *word).collect();
        if !asked.is_empty() {
            line = line + " NOTIFY=" + &asked.join(",");
        }
        if let Some(orcpt) = &to.orcpt {
            line = line + " ORCPT=" + orcpt;
        }
    }
    (line + "\r\n").into_bytes()
}

/// The content with the dots that the wire needs.
pub(super) fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(content.len() + 8);
    let mut start = true;
    for byte in content {
        if start && *byte == b'.' {
            wire.push(b'.');
        }
        wire.push(*byte);
        start = wire.ends_with(b"\r\n");
    }
    wire
}

/// Takes one whole reply off what was heard: its code, and the id at its end.
pub(super) fn next_reply(heard: &mut Vec<u8>) -> Option<(u16, Option<MessageId>)> {
    let mut start = 0;
    loop {
        let line = heard[start..].iter().position(|b| *b == b'\n')?;
        let end = start + line + 1;
        let text = String::from_utf8_lossy(&heard[start..end]).into_owned();
        start = end;
        if text.as_bytes().get(3) != Some(&b'-') {
            heard.drain(..end);
            let id = text.rsplit(' ').next().and_then(|id| id.trim().parse().ok());
            return Some((text.get(..3)?.parse().ok()?, id));
        }
    }
}
