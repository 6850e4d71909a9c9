//! `POST /v1/messages`: a message over the control socket. The envelope stands
//! in the query, the message as it is in the body: no JSON around it.

use mail::envelope::parse_envid;
use mail::{Address, Envelope, Notify, Recipient, Return, ReversePath};

use super::filter::bare_mailbox;
use super::query::decoded;
use super::{ApiError, Request};

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Who sends it to whom.
    pub envelope: Envelope,
    /// Its text (RFC 5322), with lines that end in CRLF or in LF.
    pub text: Vec<u8>,
}

/// `sender=…&recipient=…&recipient=…`, and for all recipients what the
/// parameters of RFC 3461 ask for: `notify`, `ret`, `envid`. An empty sender is
/// the null path.
pub(super) fn submit(query: &str, text: &[u8]) -> Result<Request, ApiError> {
    let refuse = |why: String| ApiError::PeerRequest(why);
    let (mut sender, mut to) = (None, Vec::new());
    let (mut notify, mut ret, mut envid) = (None, None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value)?;
        let fault = |why: &dyn std::fmt::Display| refuse(format!("{name}: {why}"));
        let twice = match name {
            "sender" => sender.replace(path(&value).map_err(|e| fault(&e))?).is_some(),
            "recipient" => {
                let address = Address::parse(bare_mailbox(&value), true);
                to.push(address.map_err(|e| fault(&format!("{value:?}: {e}")))?);
                false
            }
            "notify" => {
                notify.replace(Notify::parse(value.as_bytes()).map_err(|e| fault(&e))?).is_some()
            }
            "ret" => ret.replace(Return::parse(value.as_bytes()).map_err(|e| fault(&e))?).is_some(),
            "envid" => {
                envid.replace(parse_envid(value.as_bytes()).map_err(|e| fault(&e))?).is_some()
            }
            _ => {
                let known = "sender, recipient, notify, ret, envid";
                return Err(fault(&format!("not known here; known: {known}")));
            }
        };
        if twice {
            return Err(fault(&"given twice"));
        }
    }
    let sender = sender.ok_or_else(|| refuse("name the sender: sender=user@domain".into()))?;
    if to.is_empty() {
        return Err(refuse("name those who get it: recipient=user@domain".into()));
    }
    if text.is_empty() {
        return Err(refuse("the message is missing: it is the body of the request".into()));
    }
    let notify = notify.unwrap_or(Notify::UNSET);
    let recipients: Vec<Recipient> =
        to.into_iter().map(|address| Recipient { notify, ..Recipient::new(address) }).collect();
    let smtputf8 = !sender.is_ascii() || recipients.iter().any(|to| !to.address.is_ascii());
    let envelope = Envelope { smtputf8, ret, envid, ..Envelope::new(sender, recipients) };
    Ok(Request::Submit(Box::new(Submission { envelope, text: text.to_vec() })))
}

fn path(value: &str) -> Result<ReversePath, mail::AddressError> {
    match bare_mailbox(value) {
        "" => Ok(ReversePath::Null),
        address => Address::parse(address, true).map(ReversePath::Address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, text: &str) -> Result<Request, ApiError> {
        Request::parse("POST", &format!("/v1/messages?{query}"), text.as_bytes())
    }

    #[test]
    fn the_envelope_stands_in_the_query() {
        let query = "sender=a%40from.example&recipient=b@there.example&recipient=%3Cc@d.example%3E\
                     &notify=success,failure&ret=hdrs&envid=QQ1";
        let Ok(Request::Submit(submission)) = read(query, "Subject: x\n\ny\n") else {
            panic!("it is a good order")
        };
        let Submission { envelope, text } = *submission;
        assert_eq!(envelope.sender.to_string(), "<a@from.example>");
        let to: Vec<String> =
            envelope.recipients.iter().map(|to| format!("{} {}", to.address, to.notify)).collect();
        assert_eq!(to, ["b@there.example SUCCESS,FAILURE", "c@d.example SUCCESS,FAILURE"]);
        assert_eq!((envelope.ret, envelope.envid.as_deref()), (Some(Return::Headers), Some("QQ1")));
        assert!(!envelope.smtputf8);
        assert_eq!(text, b"Subject: x\n\ny\n");
        let Ok(Request::Submit(submission)) = read("sender=&recipient=j%C3%B6@b.example", "x\n")
        else {
            panic!("it is a good order")
        };
        assert!(submission.envelope.sender.is_null() && submission.envelope.smtputf8);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let to = "recipient=b@there.example";
        for (query, text, words) in [
            (to, "x\n", "name the sender"),
            ("sender=a@b.example", "x\n", "name those who get it"),
            (&*format!("sender=a@b.example&{to}"), "", "the message is missing"),
            (&*format!("sender=nobody&{to}"), "x\n", "sender:"),
            (&*format!("sender=&sender=&{to}"), "x\n", "given twice"),
            ("sender=&recipient=b", "x\n", "recipient: \"b\""),
            (&*format!("sender=&{to}&notify=never,delay"), "x\n", "stands alone"),
            (&*format!("sender=&{to}&subject=x"), "x\n", "not known here"),
        ] {
            let error = read(query, text).unwrap_err();
            assert!(error.to_string().contains(words), "{query}: {error}");
        }
    }
}
