//! Command lines, good, bad and hostile.

use super::*;

const ALL: Extensions = Extensions::SUBMISSION;

fn code(outcome: Result<impl std::fmt::Debug, Answer>) -> String {
    match outcome {
        Ok(command) => format!("{command:?}"),
        Err(answer) => format!("{} {}", answer.code, answer.status.unwrap()),
    }
}

fn mail(argument: &str) -> Result<MailArgument, Answer> {
    parse_mail(argument.as_bytes(), ALL)
}

fn rcpt(argument: &str) -> Result<RcptArgument, Answer> {
    parse_rcpt(argument.as_bytes(), false, ALL)
}

/// Proves: RFC 5321 §2.4, RFC 5321 §4.2.4
/// Covers: A1.3, A1.5, A1.6, A1.9, A1.10, A1.13, B90
#[test]
fn verbs_are_known_in_any_case() {
    for (line, expected) in [
        ("EHLO a.example", "Hello { esmtp: true, name: \"a.example\" }"),
        ("hElO [192.0.2.1]", "Hello { esmtp: false, name: \"[192.0.2.1]\" }"),
        ("ehlo", "501 5.5.4"),
        ("EHLO two names", "501 5.5.4"),
        ("EHLO b\u{fc}cher", "501 5.5.4"),
        ("DATA", "Data"),
        ("data  ", "Data"),
        ("DATA now", "501 5.5.4"),
        ("RSET", "Reset"),
        ("QUIT", "Quit"),
        ("QUIT x", "501 5.5.4"),
        ("NOOP anything", "Noop"),
        ("HELP me", "Help"),
        ("VRFY someone", "Verify"),
        ("VRFY", "501 5.5.4"),
        ("EXPN list", "502 5.5.1"),
        ("STARTTLS", "502 5.5.1"),
        ("AUTH PLAIN", "502 5.5.1"),
        ("XYZZY", "500 5.5.1"),
        ("", "500 5.5.1"),
        ("MAIL", "501 5.5.4"),
        ("MAIL TO:<a@b>", "501 5.5.4"),
        ("RCPT FROM:<a@b>", "501 5.5.4"),
        ("NOOP a\0b", "500 5.5.2"),
        ("NOOP a\x1bb", "500 5.5.2"),
        ("NOOP a\rb", "500 5.5.2"),
    ] {
        assert_eq!(code(parse(line.as_bytes(), ALL)), expected, "{line:?}");
    }
    let longest = format!("EHLO {}", "a".repeat(HELLO_NAME_BYTES_MAX));
    assert!(parse(longest.as_bytes(), ALL).is_ok());
    assert_eq!(code(parse(format!("{longest}a").as_bytes(), ALL)), "501 5.5.4");
}

/// Proves: RFC 3030 §2
/// Covers: A1.10, A6.8, B93
#[test]
fn bdat_names_a_size_that_can_be_skipped() {
    for (line, expected) in [
        ("BDAT 0", Some(Chunk { bytes: 0, last: false })),
        ("bdat 86 last", Some(Chunk { bytes: 86, last: true })),
        ("BDAT 18446744073709551614", Some(Chunk { bytes: u64::MAX - 1, last: false })),
        ("BDAT 18446744073709551616", None),
        ("BDAT 999999999999999999999", None),
        ("BDAT -1", None),
        ("BDAT", None),
        ("BDAT x LAST", None),
        ("BDAT 1 FIRST", None),
        ("BDAT 1 LAST LAST", None),
    ] {
        assert_eq!(parse(line.as_bytes(), ALL), Ok(Command::Bdat(expected)), "{line}");
    }
    let without = ALL.without(Extension::Chunking);
    assert_eq!(code(parse(b"BDAT 1", without)), "502 5.5.1");
}

/// Covers: A1.3, A1.33, A6.13
#[test]
fn mail_parameters_are_read() {
    let all = mail("<a@b> size=100 Body=8bitmime SMTPUTF8 RET=HDRS envid=QQ+2B1").unwrap();
    assert_eq!(all.sender.to_string(), "<a@b>");
    assert_eq!(all.size, Some(100));
    assert_eq!(all.body, Body::EightBit);
    assert!(all.smtputf8);
    assert_eq!(all.ret, Some(Return::Headers));
    assert_eq!(all.envid.as_deref(), Some("QQ+2B1"));
    assert!(mail("<>").unwrap().sender.is_null());
    assert_eq!(mail("<> SIZE=99999999999999999999").unwrap().size, Some(u64::MAX));
}

/// Proves: RFC 5321 §4.1.1.11
/// Covers: A1.11, A1.12, A3.8, A6.10, A6.13, A6.14, A7.2, B90, B93
#[test]
fn mail_arguments_that_are_wrong_are_refused() {
    for (argument, expected) in [
        ("a@b", "501 5.1.7"),
        ("<a@b", "501 5.1.7"),
        ("<a b@c>", "501 5.1.7"),
        ("<a@b>SIZE=1", "501 5.5.4"),
        ("<a@b> SIZE", "501 5.5.4"),
        ("<a@b> SIZE=", "501 5.5.4"),
        ("<a@b> SIZE=-1", "501 5.5.4"),
        ("<a@b> SIZE=1x", "501 5.5.4"),
        ("<a@b> SIZE=999999999999999999999", "501 5.5.4"),
        ("<a@b> SIZE=1 size=1", "501 5.5.4"),
        ("<a@b> BODY=BINARYMIME", "501 5.5.4"),
        ("<a@b> SMTPUTF8=1", "501 5.5.4"),
        ("<a@b> RET=ALL", "501 5.5.4"),
        ("<a@b> RET=FULL RET=FULL", "501 5.5.4"),
        ("<a@b> ENVID=a+0D+0Ab", "501 5.5.4"),
        ("<a@b> ENVID=a+", "501 5.5.4"),
        ("<a@b> AUTH=<>", "555 5.5.4"),
        ("<a@b> HOLDFOR=1", "555 5.5.4"),
        ("<a@b> NOTIFY=NEVER", "555 5.5.4"),
        ("<a@b> =x", "501 5.5.4"),
        ("<a@b> a\u{e9}=x", "501 5.5.4"),
        ("<j\u{f6}rg@b>", "553 5.6.7"),
        ("<a@b\u{fc}cher>", "553 5.6.7"),
    ] {
        assert_eq!(code(mail(argument)), expected, "{argument}");
    }
}

/// Proves: RFC 6531 §3.4
/// Covers: A6.14
#[test]
fn utf8_addresses_need_smtputf8() {
    assert!(mail("<j\u{f6}rg@b> SMTPUTF8").is_ok());
    let argument = "<j\u{f6}rg@b\u{fc}cher.example>".as_bytes();
    let read = parse_rcpt(argument, true, ALL).unwrap();
    let ForwardPath::Address(address) = read.path else { panic!("an address was given") };
    assert_eq!(address.to_string(), "j\u{f6}rg@xn--bcher-kva.example");
    assert_eq!(code(parse_rcpt(argument, false, ALL)), "553 5.6.7");
    let without = ALL.without(Extension::SmtpUtf8);
    assert_eq!(code(parse_mail("<j\u{f6}rg@b>".as_bytes(), without)), "553 5.6.7");
}

/// Proves: RFC 3461 §4.1, RFC 3461 §4.2
/// Covers: A1.11, A1.16, A7.1, A7.2, A7.3, B90
#[test]
fn rcpt_parameters_are_read_or_refused() {
    let read = rcpt("<\"a b\"@c> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2By@z").unwrap();
    let ForwardPath::Address(address) = read.path else { panic!("an address was given") };
    assert_eq!(address.to_string(), "\"a b\"@c");
    assert_eq!(read.notify.to_string(), "SUCCESS,DELAY");
    assert_eq!(read.orcpt.as_deref(), Some("rfc822;x+2By@z"));
    assert_eq!(rcpt("<PostMaster>").unwrap().path, ForwardPath::Postmaster);
    for (argument, expected) in [
        ("<>", "501 5.1.3"),
        ("<a@b> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        ("<a@b> NOTIFY=", "501 5.5.4"),
        ("<a@b> NOTIFY=NEVER NOTIFY=NEVER", "501 5.5.4"),
        ("<a@b> ORCPT=a@b", "501 5.5.4"),
        ("<a@b> ORCPT=rfc822;a+0Ab", "501 5.5.4"),
        ("<a@b> SIZE=1", "555 5.5.4"),
        ("<a@b> X", "555 5.5.4"),
    ] {
        assert_eq!(code(rcpt(argument)), expected, "{argument}");
    }
}

/// Covers: A1.11
#[test]
fn what_is_not_offered_is_not_recognized() {
    for argument in ["<> SIZE=1", "<> BODY=7BIT", "<> SMTPUTF8", "<> RET=FULL", "<> ENVID=x"] {
        assert_eq!(code(parse_mail(argument.as_bytes(), Extensions::NONE)), "555 5.5.4");
    }
    for argument in ["<a@b> NOTIFY=NEVER", "<a@b> ORCPT=rfc822;a"] {
        assert_eq!(code(parse_rcpt(argument.as_bytes(), false, Extensions::NONE)), "555 5.5.4");
    }
}
