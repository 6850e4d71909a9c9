//! Lines as entries of the systemd journal, in its native protocol: a list of
//! fields, each with its value as text, or with its length in front where that
//! holds a line end.
//!
//! Invariant: whatever a line holds, it makes the fields that are named here
//! and no other.

use std::borrow::Cow;

use crate::field::Field;
use crate::read::value;
use crate::story::sentence;
use crate::syslog::{SyslogOrigin, severity};

/// Octets of one value: an entry must fit into a datagram.
const VALUE_BYTES_MAX: usize = 16 << 10;
/// Octets of an entry, behind which fields are left out.
const ENTRY_BYTES_MAX: usize = 64 << 10;

/// One entry about a line: a sentence for people as `MESSAGE`, each field as
/// `RINGPOST_FIELD`. `None` for what is no line.
pub fn journal_entry(line: &[u8], origin: &SyslogOrigin) -> Option<Vec<u8>> {
    let mut entry = Vec::with_capacity(1 << 10);
    // The journal has the time itself, and shows it in front.
    let told = sentence(line)?;
    let message = told.split_once("  ").map_or(&*told, |(_, rest)| rest);
    push(&mut entry, "MESSAGE", message);
    push(&mut entry, "PRIORITY", &severity(line).to_string());
    push(&mut entry, "SYSLOG_FACILITY", &origin.facility.to_string());
    push(&mut entry, "SYSLOG_IDENTIFIER", "ringpost");
    push(&mut entry, "SYSLOG_PID", &origin.pid.to_string());
    for field in Field::ALL {
        if let Some(value) = value(line, field) {
            push(&mut entry, &format!("RINGPOST_{}", field.key().to_ascii_uppercase()), &value);
        }
    }
    Some(entry)
}

fn push(entry: &mut Vec<u8>, name: &str, value: &str) {
    let value: Cow<'_, str> = match value.len() > VALUE_BYTES_MAX {
        true => value[..value.floor_char_boundary(VALUE_BYTES_MAX)].into(),
        false => value.into(),
    };
    if entry.len() + name.len() + value.len() + 16 > ENTRY_BYTES_MAX {
        return;
    }
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use base::Wall;

    use super::*;
    use crate::{Kind, Line};

    fn entry(reply: &str) -> Vec<u8> {
        let line = Line::new(Wall::from_millis(5), Kind::Deferred)
            .text(Field::Id, "0000400000010")
            .text(Field::Status, "4.0.0")
            .number(Field::Attempt, 3_u32)
            .text(Field::Reply, reply)
            .end();
        let origin = SyslogOrigin { hostname: "mx.example".into(), pid: 7, facility: 2 };
        journal_entry(line.trim_ascii_end(), &origin).unwrap()
    }

    /// The fields of an entry, as the journal takes it apart.
    fn fields(mut entry: &[u8]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        while !entry.is_empty() {
            let end = entry.iter().position(|byte| matches!(byte, b'=' | b'\n')).unwrap();
            let name = String::from_utf8(entry[..end].to_vec()).unwrap();
            let (value, rest) = match entry[end] {
                b'=' => {
                    let rest = &entry[end + 1..];
                    rest.split_at(rest.iter().position(|byte| *byte == b'\n').unwrap())
                }
                _ => {
                    let (length, rest) = entry[end + 1..].split_at(8);
                    rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize)
                }
            };
            assert_eq!(rest[0], b'\n');
            found.push((name, String::from_utf8(value.to_vec()).unwrap()));
            entry = &rest[1..];
        }
        found
    }

    #[test]
    fn each_field_is_one_of_the_entry_and_a_sentence_is_its_message() {
        let found = fields(&entry("451 later\nPRIORITY=0\nMESSAGE=forged"));
        let of = |name: &str| {
            let mut all = found.iter().filter(|(found, _)| found == name);
            let one = all.next().unwrap_or_else(|| panic!("no {name}: {found:?}"));
            assert_eq!(all.next(), None, "{name} twice");
            &*one.1
        };
        assert_eq!((of("PRIORITY"), of("SYSLOG_FACILITY"), of("SYSLOG_PID")), ("5", "2", "7"));
        assert_eq!((of("RINGPOST_EVENT"), of("RINGPOST_ID")), ("deferred", "0000400000010"));
        assert_eq!(of("RINGPOST_REPLY"), "451 later\nPRIORITY=0\nMESSAGE=forged");
        assert!(of("MESSAGE").starts_with("deferred"), "{}", of("MESSAGE"));
        assert_eq!(found.len(), 11);
    }

    #[test]
    fn an_entry_fits_into_a_datagram() {
        let long = "\u{e9}".repeat(VALUE_BYTES_MAX);
        let found = fields(&entry(&long));
        let reply = found.iter().find(|(name, _)| name == "RINGPOST_REPLY").unwrap();
        assert_eq!(reply.1.len(), VALUE_BYTES_MAX);
        assert!(entry(&long).len() <= ENTRY_BYTES_MAX);
        let origin = SyslogOrigin { hostname: "x".into(), pid: 0, facility: 2 };
        assert_eq!(journal_entry(b"no line", &origin), None);
    }
}
