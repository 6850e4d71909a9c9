//! Nothing is delivered altered, and only to whom it was meant for: a copy is
//! the letter as sent, with trace fields in front; its envelope is the letter's;
//! it goes where the recipient's mail goes. (Promise 8 forbids damage to cost a
//! message, and a store that changes mail breaks every other promise.)
//!
//! Room: content beyond ASCII may come encoded anew, which is undone here before
//! it is compared; also at an exchanger with 8BITMIME, when one without it was
//! tried first in the same attempt.

use crate::observation::{Link, Observation, Stamped, Taken, notify};

use super::book::Mail;
use super::{Book, Fault, Oracle, Verdict};

#[derive(Debug, Default)]
pub(super) struct Content;

impl Oracle for Content {
    fn name(&self) -> &'static str {
        "nothing is altered"
    }

    fn promise(&self) -> u8 {
        8
    }

    fn see(&mut self, book: &Book, seen: &Stamped) -> Verdict {
        let Observation::Took { link, copy } = &seen.what else { return Ok(()) };
        let Some(message) = copy.message() else {
            // Reports come from nobody and go to one.
            return if copy.sender.is_empty() && copy.to.len() == 1 {
                Ok(())
            } else {
                Err(Fault::new("a message that nobody sent is delivered"))
            };
        };
        let Some(mail) = book.mail.get(&message) else {
            return Err(Fault::new("delivered before it was sent whole").with(message));
        };
        if copy.sender != mail.letter.sender {
            return Err(Fault::new("delivered with another sender").with(message));
        }
        for one in &copy.to {
            meant_for(mail, copy, one)
                .map_err(|what| Fault::new(what).with(message).to(&one.address))?;
            if !goes_there(book, *link, mail, &one.address) {
                let what = "delivered to a host that is not its own";
                return Err(Fault::new(what).with(message).to(&one.address));
            }
        }
        if copy.dsn && (copy.ret != mail.letter.ret || copy.envid != mail.letter.envid) {
            return Err(Fault::new("RET or ENVID is lost on the way").with(message));
        }
        unaltered(mail, copy).map_err(|what| Fault::new(what).with(message))
    }
}

/// Whether the letter names this recipient, with these parameters.
fn meant_for(mail: &Mail, copy: &Taken, one: &crate::observation::Addressee) -> Result<(), String> {
    let same = |to: &&crate::observation::Addressee| to.address.eq_ignore_ascii_case(&one.address);
    let Some(to) = mail.letter.to.iter().find(same) else {
        return Err("delivered to somebody it was not meant for".into());
    };
    if !copy.dsn {
        return Ok(());
    }
    // What was not asked for may be spelled out (RFC 3461 §5.2.1).
    let plain = notify::FAILURE | notify::DELAY;
    let told = to.notify == notify::ABSENT && (one.notify & !plain) == 0;
    if to.notify != one.notify && !told {
        return Err(format!("NOTIFY is lost on the way: {:?} to {:?}", to.notify, one.notify));
    }
    if to.orcpt.is_some() && to.orcpt != one.orcpt {
        return Err(format!("ORCPT is lost on the way: {:?} to {:?}", to.orcpt, one.orcpt));
    }
    Ok(())
}

/// Whether mail to an address may go over this connection.
fn goes_there(book: &Book, link: Link, mail: &Mail, address: &str) -> bool {
    let Some(standing) = book.links.get(&link) else { return true };
    let since = mail.handed.mono;
    let mut rules = book.rules_since(since).peekable();
    rules.peek().is_none() || rules.any(|rules| book.leads_to(rules, since, address, standing.to))
}

/// Whether the content is the letter's, behind trace fields.
fn unaltered(mail: &Mail, copy: &Taken) -> Result<(), &'static str> {
    let sent = &mail.letter.content;
    let came = &copy.content;
    if came.ends_with(sent) {
        return trace_only(&came[..came.len() - sent.len()]);
    }
    if !sent.is_ascii() {
        return match body(came).map(decoded) {
            Some(plain) if body(sent) == Some(&plain[..]) => Ok(()),
            _ => Err("altered on the way, beyond its encoding"),
        };
    }
    Err("altered on the way")
}

/// What stands in front is whole fields of ours.
fn trace_only(front: &[u8]) -> Result<(), &'static str> {
    let text = std::str::from_utf8(front).map_err(|_| "something strange stands in front")?;
    let known = ["Received:", "Date:", "Message-ID:", " ", "\t"];
    let fields = text.split_inclusive("\r\n").enumerate().all(|(n, line)| {
        let folded = line.starts_with([' ', '\t']);
        let ours = known.iter().any(|name| line.starts_with(name));
        line == "\r\n" || (ours && line.ends_with("\r\n") && (n > 0 || !folded))
    });
    if !fields {
        Err("something other than trace fields stands in front")
    } else if !text.starts_with("Received:") {
        Err("no trace field stands in front")
    } else {
        Ok(())
    }
}

fn body(content: &[u8]) -> Option<&[u8]> {
    let at = content.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(&content[at + 4..])
}

/// Quoted-printable undone.
fn decoded(text: &[u8]) -> Vec<u8> {
    let hex = |b: u8| (b as char).to_digit(16).map(|digit| digit as u8);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, more)) = rest.split_first() {
        rest = match (first, more) {
            (b'=', [b'\r', b'\n', after @ ..]) => after,
            (b'=', [a, b, after @ ..]) if hex(*a).is_some() && hex(*b).is_some() => {
                out.push(hex(*a).unwrap_or_default() << 4 | hex(*b).unwrap_or_default());
                after
            }
            _ => {
                out.push(*first);
                more
            }
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Addressee, Letter, Site};
    use crate::oracle::play::{Play, REMOTE, TO};
    use std::sync::Arc;

    fn begun() -> Play {
        let mut play = Play::of(Content);
        let domains = vec!["one.example".into()];
        let site = Site { name: "one".into(), domains, addresses: vec![REMOTE.ip()] };
        play.see(Observation::Topology(Arc::from([site])));
        play.rules(|_| ());
        play.after(10).accepted(1, &[TO]);
        play.dialled(1);
        play
    }

    fn bytes(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    fn copy_of(play: &mut Play, text: &str) {
        let content = bytes(text);
        play.copy_as(1, |copy| Taken { to: vec![Addressee::new(TO)], content, ..copy });
    }

    const FRONT: &str = "Received: from x by y\r\n\twith ESMTP; now\r\nDate: now\r\n";
    const SENT: &str = "Subject: x\r\nX-Story: 1\r\n\r\nHello\r\n";

    #[test]
    fn the_letter_behind_trace_fields_is_fine() {
        let mut play = begun();
        copy_of(&mut play, &format!("{FRONT}{SENT}"));
        play.copy(1, 1, &[TO]);
        play.fine();
    }

    #[test]
    fn a_changed_letter_is_caught() {
        for (text, words) in [
            (format!("{FRONT}{}", SENT.replace("Hello", "hello")), "altered"),
            (format!("{FRONT}{SENT}more\r\n"), "altered"),
            (format!("{FRONT}{}", SENT.trim_end()), "altered"),
            (format!("{FRONT}X-Story: 1\r\nBcc: x\r\n{SENT}"), "other than trace"),
            (SENT.to_owned(), "no trace"),
        ] {
            let mut play = begun();
            copy_of(&mut play, &text);
            play.caught(words);
        }
    }

    #[test]
    fn an_envelope_that_is_not_the_letters_is_caught() {
        let mut play = begun();
        play.copy(1, 1, &["x@one.example"]);
        play.caught("not meant for");
        let mut play = begun();
        play.copy_as(1, |copy| Taken {
            sender: "x@from.example".into(),
            content: bytes(&format!("{FRONT}{SENT}")),
            ..copy
        });
        play.caught("another sender");
        let mut play = begun();
        play.copy(1, 2, &[TO]);
        play.caught("before it was sent");
        let mut play = begun();
        play.copy_as(1, |copy| Taken { content: bytes("Subject: who\r\n\r\n"), ..copy });
        play.caught("nobody sent");
    }

    #[test]
    fn a_copy_at_a_strange_host_is_caught() {
        let mut play = begun();
        play.dialled_to(3, ([203, 0, 113, 7], 25).into());
        play.copy(3, 1, &[TO]);
        play.caught("not its own");
    }

    #[test]
    fn parameters_travel_where_the_exchanger_takes_them() {
        let asked = Addressee {
            notify: notify::SUCCESS,
            orcpt: Some("rfc822;o@x".into()),
            ..Addressee::new(TO)
        };
        for (dsn, lost) in [(true, true), (false, true), (true, false)] {
            let mut play = Play::of(Content);
            let to = vec![asked.clone()];
            play.handed_as(1, |letter| Letter { to, ..letter });
            play.dialled(1);
            let to = if lost { Addressee::new(TO) } else { asked.clone() };
            let content = bytes(&format!("{FRONT}{SENT}"));
            play.copy_as(1, |copy| Taken { to: vec![to], content, dsn, ..copy });
            if dsn && lost { play.caught("NOTIFY is lost") } else { play.fine() }
        }
    }

    #[test]
    fn content_encoded_anew_is_the_same_underneath() {
        let sent = "Subject: x\r\nX-Story: 1\r\n\r\nGr\u{fc}\u{df}e = 1\r\n";
        let coded = "Subject: x\r\nX-Story: 1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                     Gr=C3=BC=C3=9F=\r\ne =3D 1\r\n";
        for (text, eight_bit, fine) in
            [(coded, false, true), (coded, true, true), (&coded.replace("BC", "BD"), false, false)]
        {
            let mut play = Play::of(Content);
            let content = bytes(sent);
            play.handed_as(1, |letter| Letter { content, ..letter });
            play.dialled(1);
            let content = bytes(&format!("{FRONT}{text}"));
            let to = vec![Addressee::new(TO)];
            play.copy_as(1, |copy| Taken { to, content, eight_bit, ..copy });
            if fine { play.fine() } else { play.caught("altered") }
        }
    }
}
