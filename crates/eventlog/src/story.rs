//! Lines as sentences, for people.

use std::borrow::Cow;
use std::fmt::Write;

use crate::field::Field;
use crate::kind::Kind;
use crate::read::value;

/// What a line says, on one line of text: time, event, and what follows. Peers'
/// words are in it, unescaped: clean it before it goes to a terminal.
pub fn sentence(line: &[u8]) -> Option<String> {
    let of = |field| value(line, field);
    let word = of(Field::Event)?;
    let mut text = format!("{}  {word:<14}", of(Field::Time)?);
    match Kind::named(&word) {
        Some(Kind::Accepted) => {
            put(&mut text, "from", of(Field::From).map(mailbox));
            put(&mut text, "to", of(Field::To).map(mailbox));
            let recipients = of(Field::Recipients).filter(|count| count != "1");
            put(&mut text, "recipients:", recipients);
            put(&mut text, "octets:", of(Field::Size));
            put(&mut text, "client", of(Field::Client).or_else(|| of(Field::By)));
            put(&mut text, "user", of(Field::User));
            put(&mut text, "session", of(Field::Session));
        }
        Some(Kind::Attempt) => {
            put(&mut text, "number", of(Field::Attempt));
            put(&mut text, "at", of(Field::Host));
            put(&mut text, "by route", of(Field::Route).filter(|route| !route.is_empty()));
            put(&mut text, "from source", of(Field::Source));
            put(&mut text, "session", of(Field::Session));
        }
        Some(
            Kind::Delivered
            | Kind::Failed
            | Kind::Expired
            | Kind::Removed
            | Kind::Deferred
            | Kind::Held
            | Kind::Released
            | Kind::Delayed,
        ) => {
            put(&mut text, "to", of(Field::To).map(mailbox));
            put(&mut text, "at", of(Field::Host));
            put(&mut text, "status", of(Field::Status));
            put(&mut text, "said:", of(Field::Reply));
            put(&mut text, "next attempt", of(Field::Next));
            if of(Field::InDoubt).is_some() {
                text.push_str(" (may have been delivered)");
            }
            put(&mut text, "session", of(Field::Session));
        }
        _ => {
            let named = |field: &Field| !matches!(field, Field::Time | Field::Event | Field::Id);
            for field in Field::ALL.into_iter().filter(named) {
                put(&mut text, &field.key().replace('_', " "), of(field));
            }
        }
    }
    Some(text)
}

fn put(text: &mut String, word: &str, what: Option<Cow<'_, str>>) {
    if let Some(what) = what {
        // Writing to a String cannot fail.
        let _ = write!(text, " {word} {what}");
    }
}

fn mailbox(address: Cow<'_, str>) -> Cow<'_, str> {
    format!("<{address}>").into()
}

#[cfg(test)]
mod tests {
    use base::Wall;

    use super::*;
    use crate::Line;

    #[test]
    fn sentences_say_who_what_where_and_when_next() {
        let at = Wall::from_millis(1_795_299_330_125);
        let line = Line::new(at, Kind::Deferred)
            .text(Field::Id, "0000400000010")
            .text(Field::From, "")
            .text(Field::To, "b@rcpt.example")
            .text(Field::Host, "mx.rcpt.example [192.0.2.1]")
            .text(Field::Status, "4.3.0")
            .text(Field::Reply, "451 4.3.0 later")
            .number(Field::Attempt, 1_u32)
            .time(Field::Next, at)
            .flag(Field::InDoubt, true)
            .end();
        assert_eq!(
            sentence(&line).unwrap(),
            "2026-11-21T22:15:30.125Z  deferred       to <b@rcpt.example> at mx.rcpt.example \
             [192.0.2.1] status 4.3.0 said: 451 4.3.0 later next attempt \
             2026-11-21T22:15:30.125Z (may have been delivered)"
        );
        let line = Line::new(at, Kind::PickupRefused)
            .text(Field::File, "a.eml")
            .text(Field::Reason, "no recipient")
            .end();
        assert_eq!(
            sentence(&line).unwrap(),
            "2026-11-21T22:15:30.125Z  pickup-refused reason no recipient file a.eml"
        );
        assert_eq!(sentence(b"{}"), None);
    }
}
