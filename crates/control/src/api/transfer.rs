//! `POST /v1/queue/import`: a message that was exported from a queue. Its body is
//! the file as it is: no JSON around it.

use mail::Exported;

use super::{ApiError, Request};

/// Largest file, in bytes: the largest message that can be allowed, with what
/// stands in front of it.
pub const FILE_BYTES_MAX: usize = 256 << 20;

/// A message with its past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Envelope and past.
    pub exported: Exported,
    /// Its text (RFC 5322), with lines that end in CRLF or in LF.
    pub text: Vec<u8>,
}

pub(super) fn import(file: &[u8]) -> Result<Request, ApiError> {
    let (exported, text) = mail::exported::read(file)
        .map_err(|error| ApiError::PeerRequest(format!("this file is refused: {error}")))?;
    if text.is_empty() {
        return Err(ApiError::PeerRequest("this file is refused: it holds no message".into()));
    }
    Ok(Request::QueueImport(Box::new(Import { exported, text: text.to_vec() })))
}

/// For the log.
impl std::fmt::Display for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { exported, text } = self;
        let envelope = &exported.envelope;
        let (id, count) = (&exported.id, envelope.recipients.len());
        let id: String = id.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
        write!(f, "queue import {id} of {} to {count}, {} bytes", envelope.sender, text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "X-Ringpost-Export: 1; recipients=1; id=\"0a\\\"b\"; \
                        arrived=2026-11-22T18:00:00.000Z\r\nX-Sender: <>\r\n\
                        X-Receiver: <b@b.example>\r\nX-Ringpost-Recipient: held\r\n";

    fn parse(method: &str, target: &str, file: &str) -> Result<Request, ApiError> {
        Request::parse(method, target, file.as_bytes())
    }

    #[test]
    fn a_file_is_read_whole_or_refused_with_its_reason() {
        let whole = format!("{FILE}Subject: x\r\n\r\ny\r\n");
        let request = parse("POST", "/v1/queue/import", &whole).unwrap();
        let shown = "queue import 0ab of <> to 1, 17 bytes";
        assert_eq!((request.to_string().as_str(), request.reads_only()), (shown, false));
        let Request::QueueImport(import) = request else { panic!("it is one") };
        assert_eq!(import.text, b"Subject: x\r\n\r\ny\r\n");
        assert!(import.exported.past.standings[0].held);
        let from = |text: &str, target: &str| parse("POST", target, text).unwrap_err().to_string();
        assert!(from(FILE, "/v1/queue/import").contains("holds no message"));
        assert!(from("Subject: x\n\ny\n", "/v1/queue/import").contains("X-Ringpost-Export"));
        assert!(from(&whole, "/v1/queue/import?x=1").contains("takes no query"));
    }

    /// Who may read the queue may not read letters.
    ///
    /// Shows: A38
    #[test]
    fn a_letter_is_nothing_for_those_who_only_look() {
        let export = parse("GET", "/v1/queue/0000000000001/file", "").unwrap();
        assert!(matches!(export, Request::QueueExport(_)) && !export.reads_only());
        let list = "/v1/queue/messages?state=held&after=0000000000001&limit=3";
        let list = parse("GET", list, "").unwrap();
        assert!(matches!(list, Request::QueueIds { limit: 3, after: Some(_), .. }));
        assert!(list.reads_only());
        assert!(parse("GET", "/v1/queue/messages?by=site", "").is_err());
    }
}
