//! A delivery report as a program of the sender's would read it.
//!
//! Never a judge of it. Read first: RFC 3464 §2, RFC 6522 §3.

use crate::observation::{Text, marked};

/// What a report says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// `Original-Envelope-Id`.
    pub(super) envid: Option<Text>,
    /// About whom.
    pub(super) about: Vec<About>,
    /// The world's number of the message it is about, by its returned header.
    pub(super) message: Option<u32>,
    /// Whether the whole message is returned.
    pub(super) is_full: bool,
}

/// What a report says of one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    /// `Original-Recipient` with its type.
    pub(super) original: Option<Text>,
    /// `Final-Recipient` without its type.
    pub(super) recipient: Text,
    /// `Action`.
    pub(super) action: Text,
    /// First digit of `Status`.
    pub(super) class: u8,
}

impl Report {
    /// Reads a report; `None` for what is none.
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(content);
        let boundary = boundary(&text)?;
        let mut report = Self::default();
        for part in text.split(&format!("--{boundary}")).skip(1) {
            let (head, body) = part.split_once("\r\n\r\n").unwrap_or((part, ""));
            let kind = head.to_ascii_lowercase();
            if kind.contains("/delivery-status") || kind.contains("/global-delivery-status") {
                report.read_status(body);
            } else if kind.contains("rfc822-headers") || kind.contains("global-headers") {
                report.message = marked(body.as_bytes());
            } else if kind.contains("message/rfc822") || kind.contains("message/global") {
                report.message = marked(body.as_bytes());
                report.is_full = true;
            }
        }
        (!report.about.is_empty()).then_some(report)
    }

    fn read_status(&mut self, body: &str) {
        let mut groups = body.split("\r\n\r\n").map(str::trim).filter(|group| !group.is_empty());
        let first = groups.next().unwrap_or_default();
        self.envid = field(first, "Original-Envelope-Id").map(Into::into);
        for group in groups {
            let value = |name| field(group, name).unwrap_or_default();
            let plain =
                |text: &str| text.split_once(';').map_or("", |(_, to)| to.trim()).to_owned();
            self.about.push(About {
                original: field(group, "Original-Recipient").map(Into::into),
                recipient: plain(&value("Final-Recipient")).into(),
                action: value("Action").into(),
                class: value("Status").bytes().next().map_or(0, |digit| digit.wrapping_sub(b'0')),
            });
        }
    }
}

fn boundary(text: &str) -> Option<String> {
    let head = text.split("\r\n\r\n").next()?;
    let kind = head.find("multipart/report")?;
    let (_, after) = head[kind..].split_once("boundary=\"")?;
    Some(after.split('"').next()?.to_owned())
}

/// A field's value, folded lines joined.
fn field(group: &str, name: &str) -> Option<String> {
    let mut value: Option<String> = None;
    for line in group.split("\r\n") {
        match (&mut value, line.starts_with([' ', '\t'])) {
            (Some(value), true) => value.push_str(line),
            (Some(_), false) => break,
            (None, _) => {
                let (own, rest) = line.split_once(':').unwrap_or((line, ""));
                value = own.eq_ignore_ascii_case(name).then(|| rest.trim().to_owned());
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_its_sender_would() {
        let text = "From: x\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n    \
                    boundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: text/plain\r\n\r\nX-Story: 3\r\n\
                    \r\n--=_b\r\nContent-Type: message/delivery-status\r\n\r\n\
                    Original-Envelope-Id: e1\r\nReporting-MTA: dns; x\r\n\r\n\
                    Original-Recipient: rfc822; o@x\r\nFinal-Recipient: rfc822;\r\n b@x\r\n\
                    Action: failed\r\nStatus: 5.1.1\r\n\r\nFinal-Recipient: rfc822; c@x\r\n\
                    Action: failed\r\nStatus: 4.4.7\r\n\r\n--=_b\r\n\
                    Content-Type: text/rfc822-headers\r\n\r\nX-Story: 7\r\n\r\n--=_b--\r\n";
        let report = Report::read(text.as_bytes()).unwrap();
        assert_eq!((report.envid.as_deref(), report.message), (Some("e1"), Some(7)));
        assert!(!report.is_full);
        let one = About {
            original: Some("rfc822; o@x".into()),
            recipient: "b@x".into(),
            action: "failed".into(),
            class: 5,
        };
        let two = About { original: None, recipient: "c@x".into(), class: 4, ..one.clone() };
        assert_eq!(report.about, [one, two]);
    }

    #[test]
    fn what_is_no_report_is_none() {
        for text in ["", "Subject: x\r\n\r\nhello\r\n", "Content-Type: multipart/report\r\n\r\n"] {
            assert_eq!(Report::read(text.as_bytes()), None);
        }
    }
}
