//! Lines as messages of syslog.
//!
//! Invariants: whatever a line holds, a message is one message; the line
//! stands in it as it is, and its ids as structured data too.
//!
//! Read first: RFC 5424 §6, RFC 6587 §3.4.1.

use std::fmt::Write;

use crate::field::Field;
use crate::kind::{Kind, Level};
use crate::read::value;

/// Who says it, the same in all messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogOrigin {
    /// The host's name, 1 to 255 printable ASCII characters (RFC 5424 §6.2.4).
    pub hostname: Box<str>,
    /// The process.
    pub pid: u32,
    /// 0 to 23; 2 is mail (RFC 5424 §6.2.1).
    pub facility: u8,
}

/// Fields that stand in the structured data, too.
const IDS: [Field; 5] = [Field::Id, Field::Session, Field::Report, Field::Attempt, Field::Status];
/// What is structured as ids of ours: the number that is kept for examples and
/// documents, for we have none of our own.
const SD_ID: &str = "ringpost@32473";

/// One message about a line (RFC 5424 §6), without any framing. `None` for what
/// is no line.
pub fn syslog_message(line: &[u8], origin: &SyslogOrigin) -> Option<Vec<u8>> {
    let SyslogOrigin { hostname, pid, facility } = origin;
    let (time, word) = (value(line, Field::Time)?, value(line, Field::Event)?);
    let priority = u16::from(facility % 24) * 8 + u16::from(severity(line));
    let mut head = format!("<{priority}>1 {time} {hostname} ringpost {pid} {word} ");
    let from = head.len();
    for field in IDS {
        if let Some(id) = value(line, field) {
            // Writing to a String cannot fail.
            let _ = write!(head, " {}=\"{}\"", field.key(), escaped(&id));
        }
    }
    if head.len() > from {
        head.insert_str(from, SD_ID);
        head.insert(from, '[');
        head.push_str("] ");
    } else {
        head.push_str("- ");
    }
    let mut message = head.into_bytes();
    message.extend_from_slice(line);
    Some(message)
}

/// One message about a line as programs hand it to their own machine's syslog:
/// without a host, which is known, and in the older form, which is all that is
/// understood there. `None` for what is no line.
pub fn local_message(line: &[u8], origin: &SyslogOrigin) -> Option<Vec<u8>> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let time = value(line, Field::Time)?;
    let month: usize = time.get(5..7)?.parse().ok()?;
    let month = MONTHS.get(month.checked_sub(1)?)?;
    let (day, clock) = (time.get(8..10)?, time.get(11..19)?);
    let day = day.strip_prefix('0').map_or_else(|| day.to_owned(), |digit| format!(" {digit}"));
    let SyslogOrigin { pid, facility, .. } = origin;
    let priority = u16::from(facility % 24) * 8 + u16::from(severity(line));
    let mut message = format!("<{priority}>{month} {day} {clock} ringpost[{pid}]: ").into_bytes();
    message.extend_from_slice(line);
    Some(message)
}

/// A message as it goes over a stream: its length in front (RFC 6587 §3.4.1,
/// RFC 5425 §4.3).
pub fn push_framed(stream: &mut Vec<u8>, message: &[u8]) {
    stream.extend_from_slice(message.len().to_string().as_bytes());
    stream.push(b' ');
    stream.extend_from_slice(message);
}

/// How grave a line is, 0 to 7 (RFC 5424 §6.2.1).
pub fn severity(line: &[u8]) -> u8 {
    let kind = value(line, Field::Event).and_then(|word| Kind::named(&word));
    kind.map_or(6, of_kind)
}

fn of_kind(kind: Kind) -> u8 {
    match kind {
        Kind::Storage
        | Kind::ShardLost
        | Kind::Quarantined
        | Kind::SinkLost
        | Kind::LinesLost
        | Kind::PickupFailed => 3,
        Kind::Failed
        | Kind::Expired
        | Kind::ReportWithheld
        | Kind::InDoubt
        | Kind::HostFailed
        | Kind::SiteDown
        | Kind::Shortage
        | Kind::Fallback
        | Kind::LogInRefused
        | Kind::ControlRefused
        | Kind::SourceSuspended
        | Kind::ShardStalled
        | Kind::SinkDown
        | Kind::Alert
        | Kind::PickupRefused => 4,
        Kind::Deferred
        | Kind::Delayed
        | Kind::Held
        | Kind::Removed
        | Kind::LimitReached
        | Kind::ClientTlsFailed
        | Kind::ProxyRefused => 5,
        other => match other.described().level {
            Level::Always => 5,
            Level::Basic => 6,
            Level::Detail => 7,
        },
    }
}

/// A value of structured data (RFC 5424 §6.3.3).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use base::Wall;

    use super::*;
    use crate::Line;

    fn origin() -> SyslogOrigin {
        SyslogOrigin { hostname: "mx.example".into(), pid: 7, facility: 2 }
    }

    fn text(line: &[u8]) -> String {
        String::from_utf8(syslog_message(line.trim_ascii_end(), &origin()).unwrap()).unwrap()
    }

    /// Covers: A15.1
    /// Proves: RFC 5424 §6
    #[test]
    fn a_line_is_a_message_with_its_ids_as_structured_data() {
        let line = Line::new(Wall::from_millis(951_782_400_005), Kind::Deferred)
            .text(Field::Id, "0000400000010")
            .text(Field::Session, "00000001-0-1")
            .text(Field::Status, "4.0.0")
            .number(Field::Attempt, 3_u32)
            .text(Field::Reply, "later\r\n<13>1 forged")
            .end();
        let shown = text(&line);
        let head = "<21>1 2000-02-29T00:00:00.005Z mx.example ringpost 7 deferred \
                    [ringpost@32473 id=\"0000400000010\" session=\"00000001-0-1\" attempt=\"3\" \
                    status=\"4.0.0\"] {\"time\":";
        assert!(shown.starts_with(head), "{shown}");
        assert!(shown.ends_with("forged\"}") && !shown.contains('\n'), "{shown}");
    }

    /// Covers: A15.1
    /// Proves: RFC 5424 §6.3.1
    #[test]
    fn a_line_without_ids_has_no_structured_data() {
        let line = Line::new(Wall::from_millis(0), Kind::Stop).text(Field::Reason, "x").end();
        assert!(
            text(&line)
                .starts_with("<21>1 1970-01-01T00:00:00.000Z mx.example ringpost 7 stop - {")
        );
        assert_eq!(syslog_message(b"no line", &origin()), None);
    }

    /// Covers: A15.2
    /// Proves: RFC 5424 §6.3.3
    #[test]
    fn values_of_structured_data_are_escaped() {
        assert_eq!(escaped(r#"a"b]c\d"#), r#"a\"b\]c\\d"#);
    }

    #[test]
    fn a_machine_s_own_syslog_gets_the_older_form() {
        for (at, time) in [(0, "Jan  1 00:00:00"), (1_795_299_330_125, "Nov 21 22:15:30")] {
            let line = Line::new(Wall::from_millis(at), Kind::Stop).text(Field::Reason, "x").end();
            let message = local_message(line.trim_ascii_end(), &origin()).unwrap();
            let shown = String::from_utf8(message).unwrap();
            assert!(shown.starts_with(&format!("<21>{time} ringpost[7]: {{")), "{shown}");
        }
        for bad in ["no line", "{\"time\":\"2026-13-01T00:00:00.000Z\"}", "{\"time\":\"\u{e9}\"}"] {
            assert_eq!(local_message(bad.as_bytes(), &origin()), None, "{bad}");
        }
    }

    /// Covers: A15.3
    /// Proves: RFC 6587 §3.4.1
    #[test]
    fn a_stream_has_the_length_of_each_message_in_front() {
        let mut stream = Vec::new();
        push_framed(&mut stream, "é".as_bytes());
        push_framed(&mut stream, b"ab");
        assert_eq!(stream, "2 é2 ab".as_bytes());
    }

    #[test]
    fn every_kind_has_a_severity_and_detail_is_debugging() {
        for kind in Kind::all() {
            let line = format!("{{\"time\":\"x\",\"event\":\"{}\"}}", kind.word());
            let severity = severity(line.as_bytes());
            assert!((2..=7).contains(&severity), "{kind:?}");
            assert_eq!(severity == 7, kind.described().level == Level::Detail, "{kind:?}");
        }
        assert_eq!(severity(b"no line"), 6);
    }
}
