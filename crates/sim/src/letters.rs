//! Messages that clients hand in: who to, with which parameters, and contents
//! of all kinds, each a function of a seed and its number.
//!
//! Invariant: an address is used in one message alone, so that a copy anywhere
//! is known by its recipient.

use base::Rng;

use crate::observation::{Addressee, Letter, MARK, Text, notify};
use crate::scenario::{SENDERS, Scenario, pick};

/// A message by chance.
pub fn letter(number: u32, scenario: &Scenario, rng: &mut Rng) -> Letter {
    let sender: Text = match rng.below(12) {
        0 => "".into(),
        n => format!("s{n}@from{}.example", rng.below(SENDERS)).into(),
    };
    let recipients = pick(rng, &[1, 1, 1, 2, 3, 6]);
    // Some have all their recipients at one place.
    let place = (rng.below(3) == 0).then(|| pick(rng, &scenario.domains).0);
    let place = place.as_deref();
    let to = (0..recipients).map(|n| addressee(number, n, place, scenario, rng)).collect();
    Letter {
        sender,
        to,
        ret: pick(rng, &[0, 0, b'F', b'H']),
        envid: (rng.below(4) == 0).then(|| format!("env+2B{number}").into()),
        content: content(number, rng).into(),
    }
}

/// The same message as another one: its client hands it in again.
pub fn again(number: u32, letter: &Letter) -> Letter {
    let marked = |number: u32| format!("\r\n{MARK}{number}\r\n");
    let old = marked(mark_of(&letter.content));
    let content = replaced(&letter.content, old.as_bytes(), &marked(number));
    let to = (0u32..).zip(&letter.to).map(|(n, to)| {
        let (local, domain) = to.address.rsplit_once('@').unwrap_or((&to.address, ""));
        let kind = local.split_once("-m").map_or("r", |(kind, _)| kind);
        Addressee { address: format!("{kind}-m{number}.{n}@{domain}").into(), ..to.clone() }
    });
    Letter { to: to.collect(), content: content.into(), ..letter.clone() }
}

fn addressee(
    number: u32,
    n: u32,
    place: Option<&str>,
    scenario: &Scenario,
    rng: &mut Rng,
) -> Addressee {
    let kind = match rng.below(if place.is_some() { 5 } else { 16 }) {
        0 => "no",
        1 => "later",
        _ => "r",
    };
    let domain = match rng.below(40) {
        0 => "nowhere.example".to_owned(),
        1 => "null.example".to_owned(),
        2 => "void.example".to_owned(),
        _ => place.unwrap_or(&pick(rng, &scenario.domains).0).to_owned(),
    };
    let notify = match rng.below(10) {
        0 => notify::NEVER,
        1 => notify::SUCCESS,
        2 => notify::SUCCESS | notify::FAILURE | notify::DELAY,
        3 => notify::FAILURE,
        4 => notify::DELAY,
        _ => notify::ABSENT,
    };
    let orcpt = (rng.below(5) == 0).then(|| format!("rfc822;was+2B{number}.{n}@old.example"));
    Addressee {
        address: format!("{kind}-m{number}.{n}@{domain}").into(),
        notify,
        orcpt: orcpt.map(Text::from),
    }
}

fn content(number: u32, rng: &mut Rng) -> Vec<u8> {
    let mut text = format!("From: somebody\r\n{MARK}{number}\r\nSubject: story {number}\r\n");
    if rng.below(2) == 0 {
        text += "Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n";
    }
    if rng.below(2) == 0 {
        text += &format!("Message-ID: <{number}@from.example>\r\n");
    }
    text += "\r\n";
    let mut content = text.into_bytes();
    let lines = match rng.below(12) {
        0 => 0,
        1 => 120,
        2 => 600,
        _ => 1 + rng.below(12),
    };
    let kind = rng.below(10);
    for line in 0..lines {
        match (kind, line % 3) {
            (0 | 1, 0) => content.extend_from_slice(b".\r\n"),
            (0 | 1, 1) => content.extend_from_slice(b"..leading dots\r\n"),
            (2, _) => content.extend_from_slice("gr\u{fc}\u{df}e, \u{20ac}\r\n".as_bytes()),
            (3, 0) => content.extend_from_slice(&[b"x".repeat(998), b"\r\n".to_vec()].concat()),
            _ => content.extend_from_slice(b"words of a message, some of them true\r\n"),
        }
    }
    if rng.below(40) == 0 {
        let line = [b"y".repeat(998), b"\r\n".to_vec()].concat();
        content.extend_from_slice(&line.repeat(70 + rng.below(40) as usize));
    }
    if rng.below(25) == 0 {
        content.extend_from_slice(&smuggled(number, rng));
    }
    content
}

/// A second message within the first, for servers that take another end of
/// content than we do.
fn smuggled(number: u32, rng: &mut Rng) -> Vec<u8> {
    let end: &[u8] =
        pick(rng, &[b"\n.\n".as_slice(), b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r"]);
    let second = format!(
        "MAIL FROM:<evil@from0.example>\r\nRCPT TO:<smuggled{number}@d0.example>\r\nDATA\r\n\
         Subject: smuggled\r\n\r\nthere\r\n"
    );
    [end, second.as_bytes()].concat()
}

/// The number that a content bears.
pub fn mark_of(content: &[u8]) -> u32 {
    let mark = MARK.as_bytes();
    let at = content.windows(mark.len()).position(|window| window == mark);
    let digits = &content[at.map_or(content.len(), |at| at + mark.len())..];
    let digits = digits.iter().take_while(|b| b.is_ascii_digit());
    digits.fold(0, |n: u32, digit| n.wrapping_mul(10) + u32::from(digit - b'0'))
}

fn replaced(content: &[u8], old: &[u8], new: &str) -> Vec<u8> {
    match content.windows(old.len()).position(|window| window == old) {
        Some(at) => [&content[..at], new.as_bytes(), &content[at + old.len()..]].concat(),
        None => content.to_vec(),
    }
}
