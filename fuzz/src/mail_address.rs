//! Addresses, paths, domains and the values of DSN parameters.
//!
//! Input: a byte that says whether UTF-8 is allowed, then the text. Oracle:
//! what is printed reads as the same value again, also as part of a command
//! line; nothing that was taken holds a control character, passes a bound, or
//! ends the field it stands in.
//!
//! Read first: RFC 5321 §4.1.2, RFC 5321 §4.5.3.1, RFC 3461 §4.

use base::limits::{LOCAL_PART_BYTES_MAX, PATH_BYTES_MAX};
use mail::envelope::{parse_envid, parse_orcpt};
use mail::{Address, Body, Domain, ForwardPath, Host, Notify, Return, ReversePath, Status, xtext};
use smtp::Extensions;
use smtp::command::{parse, parse_mail, parse_rcpt};

use crate::input::Input;

/// Runs the target.
pub fn mail_address(data: &[u8]) {
    let mut input = Input::new(data);
    let utf8 = input.flag();
    let bytes = input.rest();
    if let Ok(address) = Address::parse(bytes, utf8) {
        check_address(&address, utf8);
    }
    if let Ok((path, _)) = ReversePath::parse_prefix(bytes, utf8) {
        check_reverse(&path, utf8);
    }
    if let Ok((path, _)) = ForwardPath::parse_prefix(bytes, utf8) {
        check_forward(&path, utf8);
    }
    if let Ok(text) = str::from_utf8(bytes) {
        check_domain(text);
    }
    check_parameters(bytes, utf8);
    check_command(bytes);
}

fn check_address(address: &Address, utf8: bool) {
    let text = address.to_string();
    assert_eq!(Address::parse(&text, utf8).as_ref(), Ok(address), "{text}");
    assert!(!text.chars().any(char::is_control), "{} has a control character", text.escape_debug());
    assert!(address.local().len() <= LOCAL_PART_BYTES_MAX && text.len() + 2 <= PATH_BYTES_MAX);
    assert!(utf8 || text.is_ascii());
    assert_eq!(address.is_ascii(), text.is_ascii(), "a domain is always ASCII");
    assert!(!text.starts_with('@') && !text.ends_with('@'));
    if let Host::Name(domain) = address.host() {
        check_domain(domain.as_str());
    }
}

fn check_reverse(path: &ReversePath, utf8: bool) {
    let text = path.to_string();
    assert_eq!(ReversePath::parse(&text, utf8).as_ref(), Ok(path), "{text}");
    path.address().into_iter().for_each(|address| check_address(address, utf8));
    // Nothing in it ends the path early, whatever follows.
    let behind = format!("{text} SIZE=1");
    let (again, rest) = ReversePath::parse_prefix(behind.as_bytes(), utf8).expect("a path");
    assert_eq!((&again, rest), (path, &b" SIZE=1"[..]), "{text}");
}

fn check_forward(path: &ForwardPath, utf8: bool) {
    let text = path.to_string();
    assert_eq!(ForwardPath::parse(&text, utf8).as_ref(), Ok(path), "{text}");
    let line = format!("RCPT TO:{text} NOTIFY=NEVER\r\n");
    assert_eq!(line.matches(['\r', '\n']).count(), 2, "{text} breaks its line");
    let argument = line.trim_end().strip_prefix("RCPT TO:").expect("written above");
    let again = parse_rcpt(argument.as_bytes(), utf8, Extensions::SUBMISSION).expect("a recipient");
    assert_eq!((&again.path, again.notify), (path, Notify::NEVER), "{text}");
    let hostname = Domain::parse("mx.example").expect("a name");
    check_address(&path.clone().or_at(&hostname), utf8);
}

fn check_domain(text: &str) {
    let Ok(domain) = Domain::parse_utf8(text) else { return };
    let name = domain.as_str();
    assert_eq!(Domain::parse(name).as_ref(), Ok(&domain), "{name}");
    assert_eq!(Domain::parse_utf8(name).as_ref(), Ok(&domain), "{name}");
    assert_eq!(Domain::parse(&name.to_ascii_uppercase()).as_ref(), Ok(&domain), "{name}");
    let fine = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    assert!(name.bytes().all(fine) && !name.contains(['<', '>', '@', '"', '\\', '[', ']', ',']));
    assert!(name.len() <= 255 && name.split('.').all(|label| (1..=63).contains(&label.len())));
    assert!(domain.is_within(&domain));
}

fn check_parameters(bytes: &[u8], utf8: bool) {
    if let Ok(text) = xtext::check(bytes, utf8) {
        let decoded = xtext::decode(text);
        let shown = |char: char| !char.is_control() || char == '\t';
        assert!(decoded.chars().all(shown), "{decoded:?} hides a control character");
        let mut encoded = String::new();
        xtext::encode(&decoded, &mut encoded);
        assert_eq!(xtext::decode(&encoded), decoded);
        assert_eq!(xtext::check(encoded.as_bytes(), utf8), Ok(&*encoded));
    }
    let value = |text: Box<str>, bytes_max: usize| {
        assert!(text.len() <= bytes_max);
        assert!(!text.chars().any(|char| char.is_control() || char == ' '), "{text:?}");
        assert_eq!(text.as_bytes(), bytes, "kept as received");
    };
    parse_envid(bytes).into_iter().for_each(|text| value(text, 100));
    parse_orcpt(bytes, utf8).into_iter().for_each(|text| value(text, 500));
    if let Ok(notify) = Notify::parse(bytes) {
        assert_eq!(Notify::parse(notify.to_string().as_bytes()), Ok(notify));
        assert_eq!(Notify::from_bits(notify.bits()), Some(notify));
    }
    if let Ok(ret) = Return::parse(bytes) {
        assert_eq!(Return::parse(ret.to_string().as_bytes()), Ok(ret));
    }
    if let Ok(body) = Body::parse(bytes) {
        assert_eq!(Body::parse(body.to_string().as_bytes()), Ok(body));
    }
    if let Some(status) = Status::parse(bytes) {
        assert_eq!(Status::from_bits(status.bits()), Some(status));
        assert_eq!(Status::parse(status.to_string().as_bytes()), Some(status));
    }
}

/// The text as a whole command line and as the argument of one.
fn check_command(bytes: &[u8]) {
    let served = Extensions::SUBMISSION;
    let _ = parse(bytes, served);
    if let Ok(mail) = parse_mail(bytes, served) {
        check_reverse(&mail.sender, mail.smtputf8);
        mail.envid.iter().for_each(|envid| assert!(parse_envid(envid.as_bytes()).is_ok()));
    }
    for utf8 in [false, true] {
        if let Ok(rcpt) = parse_rcpt(bytes, utf8, served) {
            check_forward(&rcpt.path, utf8);
            let orcpt = rcpt.orcpt.iter();
            orcpt.for_each(|orcpt| assert!(parse_orcpt(orcpt.as_bytes(), utf8).is_ok()));
        }
    }
}
