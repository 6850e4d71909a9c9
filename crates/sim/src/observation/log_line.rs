//! The operator's log, line by line, as a reader outside takes it.
//!
//! Never panics on a line: what is no line of ours is an error for whoever
//! reads it. Read first: the log's reference.

use base::MessageId;
use serde_json::Value;

use super::Text;

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogEvent {
    /// A recipient got it.
    Delivered,
    /// A recipient will not get it.
    Failed,
    /// Given up for age or attempts.
    Expired,
    /// Taken out by command.
    Removed,
    /// An attempt failed for now.
    Deferred,
    /// Kept.
    Held,
    /// No longer kept.
    Released,
    /// The sender is told that it is late.
    Delayed,
    /// A report was written.
    Report,
    /// A report was due and is not written.
    ReportWithheld,
    /// A stored message cannot be read.
    Quarantined,
    /// The disk.
    Storage,
    /// Our own means ran out.
    Shortage,
    /// An operator's act.
    Command,
    /// Mail goes the default way, as its route's hosts are down.
    Fallback,
    /// A host failed within an attempt.
    HostFailed,
    /// Anything else.
    Other,
}

impl LogEvent {
    /// Whether nothing comes after it for its recipient.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Expired | Self::Removed)
    }

    fn of(word: &str) -> Self {
        match word {
            "delivered" => Self::Delivered,
            "failed" => Self::Failed,
            "expired" => Self::Expired,
            "removed" => Self::Removed,
            "deferred" => Self::Deferred,
            "held" => Self::Held,
            "released" => Self::Released,
            "delayed" => Self::Delayed,
            "report" => Self::Report,
            "report-withheld" => Self::ReportWithheld,
            "quarantined" => Self::Quarantined,
            "storage" => Self::Storage,
            "shortage" => Self::Shortage,
            "command" => Self::Command,
            "fallback" => Self::Fallback,
            "host-failed" => Self::HostFailed,
            _ => Self::Other,
        }
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// What it tells.
    pub event: LogEvent,
    /// The message.
    pub id: Option<MessageId>,
    /// Its sender; empty for none.
    pub from: Text,
    /// The recipient, or whom a report goes to.
    pub to: Text,
    /// Name and address of who answered.
    pub host: Text,
    /// Class of the status code; 0 where there is none.
    pub class: u8,
    /// The reply, or our own words.
    pub reply: Text,
    /// Attempts made.
    pub attempt: Option<u16>,
    /// When the next attempt is due, in milliseconds since 1970.
    pub next: Option<u64>,
    /// Whether a copy may have been delivered.
    pub in_doubt: bool,
    /// The report's own id.
    pub report: Option<MessageId>,
}

impl LogLine {
    /// Reads a line.
    ///
    /// # Errors
    /// Words for what is no line of the log in it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let text = |key: &str| value[key].as_str();
        let id = |key: &str| match text(key) {
            Some(id) => id.parse().map(Some).map_err(|_| format!("{key} {id} is no id")),
            None => Ok(None),
        };
        let next = match text("next") {
            Some(next) => Some(millis(next).ok_or_else(|| format!("{next} is no time"))?),
            None => None,
        };
        let attempt = value["attempt"].as_u64();
        Ok(Self {
            event: LogEvent::of(text("event").ok_or("no event")?),
            id: id("id")?,
            from: text("from").unwrap_or_default().into(),
            to: text("to").unwrap_or_default().into(),
            host: text("host").unwrap_or_default().into(),
            class: text("status").and_then(first_digit).unwrap_or_default(),
            reply: text("reply").unwrap_or_default().into(),
            attempt: attempt.map(|n| u16::try_from(n).unwrap_or(u16::MAX)),
            next,
            in_doubt: value["in_doubt"] == true,
            report: id("report")?,
        })
    }

    /// The code that the reply begins with, where a remote host gave it.
    pub fn code(&self) -> Option<u16> {
        let digits = self.reply.get(..3)?;
        let bordered = self.reply.as_bytes().get(3).is_none_or(|b| matches!(b, b' ' | b'-'));
        digits.parse().ok().filter(|code| bordered && (200..600).contains(code))
    }

    /// The address that the host's name ends with: `name [192.0.2.1]`.
    pub fn address(&self) -> Option<std::net::IpAddr> {
        self.host.rsplit_once('[')?.1.strip_suffix(']')?.parse().ok()
    }
}

fn first_digit(text: &str) -> Option<u8> {
    text.bytes().next().filter(u8::is_ascii_digit).map(|digit| digit - b'0')
}

/// `2026-01-31T23:59:59.125Z` in milliseconds since 1970.
fn millis(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let shape = text.len() == 24 && text.ends_with('Z');
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if !shape || year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let before_year: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    let february = 28 + u64::from(leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before_month: u64 = months[..month as usize - 1].iter().sum();
    let days = before_year + before_month + day - 1;
    let seconds = (days * 24 + number(11, 13)?) * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    Some(seconds * 1_000 + number(20, 23)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_is_written() {
        let line = LogLine::parse(
            r#"{"time":"2026-01-01T00:00:00.000Z","event":"deferred","id":"0000400000010",
            "from":"a@b.example","to":"c@d.example","host":"mx.d.example [192.0.2.1]",
            "status":"4.3.0","reply":"451 4.3.0 later","attempt":3,
            "next":"2026-01-01T00:05:00.125Z","in_doubt":true}"#,
        )
        .unwrap();
        assert_eq!((line.event, line.class, line.code()), (LogEvent::Deferred, 4, Some(451)));
        assert_eq!(line.attempt, Some(3));
        assert_eq!(line.next, Some(1_767_225_600_000 + 300_125));
        assert_eq!(line.address(), Some([192, 0, 2, 1].into()));
        assert!(line.in_doubt);
        assert!(line.id.is_some());
    }

    #[test]
    fn what_is_no_line_is_an_error_and_what_is_missing_is_nothing() {
        for bad in ["", "{", "[]", r#"{"event":7}"#, r#"{"event":"x","id":"!"}"#] {
            assert!(LogLine::parse(bad).is_err(), "{bad}");
        }
        assert!(LogLine::parse(r#"{"event":"x","next":"soon"}"#).is_err());
        let line = LogLine::parse(r#"{"event":"tls"}"#).unwrap();
        assert_eq!((line.event, line.id, line.attempt), (LogEvent::Other, None, None));
        assert_eq!((line.code(), line.address()), (None, None));
    }

    #[test]
    fn times_agree_with_the_calendar() {
        assert_eq!(millis("1970-01-01T00:00:00.001Z"), Some(1));
        assert_eq!(millis("2000-02-29T00:00:00.005Z"), Some(951_782_400_005));
        assert_eq!(millis("2026-11-21T22:15:30.125Z"), Some(1_795_299_330_125));
        assert_eq!(millis("2026-13-21T22:15:30.125Z"), None);
    }
}
