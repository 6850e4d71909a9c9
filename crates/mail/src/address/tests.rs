//! Examples for addresses and paths, good and bad.

use super::*;

fn read(text: &str) -> Result<String, AddressError> {
    Address::parse(text, false).map(|address| address.to_string())
}

/// Proves: RFC 5321 §4.1.2
/// Covers: A1.3, A1.12, A1.14, A2.31
#[test]
fn addresses_are_kept_as_received() {
    for text in [
        "a@b",
        "First.Last@example.com",
        "user+tag=x@example.com",
        "!#$%&'*+-/=?^_`{|}~@example.com",
        "\"a b\"@example.com",
        "\"a@b\"@example.com",
        "\"a\\\"b\\\\\"@example.com",
        "\"a>b\"@example.com",
        "\"\"@example.com",
        "a@[192.0.2.1]",
        "a@[IPv6:2001:db8::1]",
    ] {
        assert_eq!(read(text).as_deref(), Ok(text));
    }
    assert_eq!(read("User@EXAMPLE.com").as_deref(), Ok("User@example.com"));
    assert_eq!(read("a@[ipv6:2001:DB8::1]").as_deref(), Ok("a@[IPv6:2001:db8::1]"));
}

/// Covers: A1.12, A1.14
#[test]
fn what_is_no_address_is_refused_with_its_fault() {
    use AddressError::*;
    for (text, fault) in [
        ("", PeerLocalPart),
        ("a", PeerNoDomain),
        ("@b", PeerLocalPart),
        ("a@", PeerDomain(DomainError::PeerEmpty)),
        ("a@b@c", PeerDomain(DomainError::PeerCharacter)),
        ("a b@c", PeerLocalPart),
        (" a@b", PeerLocalPart),
        ("a@b ", PeerDomain(DomainError::PeerCharacter)),
        (".a@b", PeerLocalPart),
        ("a.@b", PeerLocalPart),
        ("a..b@c", PeerLocalPart),
        ("a<b@c", PeerLocalPart),
        ("a(b)@c", PeerLocalPart),
        ("\"a@b", PeerLocalPart),
        ("\"a\"b@c", PeerLocalPart),
        ("\"a\\", PeerLocalPart),
        ("a@192.0.2.1", PeerDomain(DomainError::PeerNumeric)),
        ("a@[192.0.2.1", PeerLiteral),
        ("a@[192.0.2.256]", PeerLiteral),
        ("a@[192.0.02.1]", PeerLiteral),
        ("a@[2001:db8::1]", PeerLiteral),
        ("a@[IPv6:192.0.2.1]", PeerLiteral),
        ("a@[IPv6:fe80::1%eth0]", PeerLiteral),
        ("a@[x400:c=de]", PeerLiteral),
        ("a@[]", PeerLiteral),
        ("\u{e9}@b", PeerNotAscii),
        ("a@b\u{fc}cher.example", PeerNotAscii),
    ] {
        assert_eq!(read(text), Err(fault), "{text:?}");
    }
}

/// Covers: A1.13, B90
#[test]
fn control_characters_are_refused_everywhere() {
    for control in (0..b' ').chain([0x7f]).map(char::from) {
        for text in [
            format!("a{control}@b"),
            format!("{control}a@b"),
            format!("\"a{control}\"@b"),
            format!("\"a\\{control}\"@b"),
            format!("a@b{control}"),
            format!("a@[192.0.2.1{control}]"),
        ] {
            assert_eq!(read(&text), Err(AddressError::PeerControl), "{text:?}");
        }
    }
    assert_eq!(Address::parse("a\u{85}@b", true), Err(AddressError::PeerControl));
}

/// Proves: RFC 5321 §4.5.3.1.1, RFC 5321 §4.5.3.1.3
/// Covers: A1.17
#[test]
fn lengths_hold_at_their_bounds() {
    let local = "a".repeat(LOCAL_PART_BYTES_MAX);
    assert!(read(&format!("{local}@b")).is_ok());
    assert_eq!(read(&format!("{local}a@b")), Err(AddressError::PeerLocalPartTooLong));

    let label = "b".repeat(63);
    let domain = format!("{label}.{label}.{label}");
    let room = PATH_BYTES_MAX - 2 - 1 - domain.len();
    assert!(room < LOCAL_PART_BYTES_MAX);
    let path = format!("<{}@{domain}>", "a".repeat(room));
    assert_eq!(path.len(), PATH_BYTES_MAX);
    assert!(ReversePath::parse(&path, false).is_ok());
    let path = format!("<{}@{domain}>", "a".repeat(room + 1));
    assert_eq!(ReversePath::parse(&path, false), Err(AddressError::PeerPathTooLong));
}

/// Proves: RFC 6531 §3.3
/// Covers: A2.31, A6.14
#[test]
fn utf8_is_read_when_asked_for() {
    let address = Address::parse("J\u{f6}rg@B\u{fc}cher.example", true).unwrap();
    assert_eq!(address.to_string(), "J\u{f6}rg@xn--bcher-kva.example");
    assert!(!address.is_ascii());
    assert!(Address::parse("jorg@b\u{fc}cher.example", true).unwrap().is_ascii());
    assert!(Address::parse("\"j \u{f6}\"@b", true).is_ok());
    assert_eq!(Address::parse(b"a\xff@b", true), Err(AddressError::PeerNotUtf8));
    assert_eq!(Address::parse(b"a@\xffb", true), Err(AddressError::PeerNotUtf8));
}

/// Covers: A4.4, A6.14
#[test]
fn faults_have_enhanced_codes() {
    assert_eq!(AddressError::PeerNotAscii.sender_status().to_string(), "5.6.7");
    assert_eq!(AddressError::PeerNotAscii.recipient_status().to_string(), "5.6.7");
    assert_eq!(AddressError::PeerNoDomain.sender_status().to_string(), "5.1.7");
    assert_eq!(AddressError::PeerNoDomain.recipient_status().to_string(), "5.1.3");
}

/// Covers: A1.12
#[test]
fn paths_are_cut_from_their_parameters() {
    let (path, rest) = ReversePath::parse_prefix(b"<a@b> SIZE=5", false).unwrap();
    assert_eq!((path.to_string().as_str(), rest), ("<a@b>", &b" SIZE=5"[..]));
    let (path, rest) = ReversePath::parse_prefix(b"<> X", false).unwrap();
    assert!(path.is_null() && path.is_ascii());
    assert_eq!((path.to_string().as_str(), rest), ("<>", &b" X"[..]));
    let (path, rest) = ForwardPath::parse_prefix(b"<\"a> b\"@c>x", false).unwrap();
    assert_eq!((path.to_string().as_str(), rest), ("<\"a> b\"@c>", &b"x"[..]));
    assert_eq!(ReversePath::parse("<a@b>x", false), Err(AddressError::PeerBrackets));
}

/// Covers: A1.12
#[test]
fn paths_without_their_brackets_are_refused() {
    use AddressError::*;
    for (text, fault) in [
        ("", PeerBrackets),
        ("a@b", PeerBrackets),
        ("<a@b", PeerBrackets),
        ("a@b>", PeerBrackets),
        ("<<a@b>>", PeerLocalPart),
        ("<a>", PeerNoDomain),
        ("< a@b>", PeerLocalPart),
        ("<a@b\r\n>", PeerControl),
        ("<", PeerLocalPart),
    ] {
        assert_eq!(ReversePath::parse(text, false), Err(fault), "{text:?}");
        assert_eq!(ForwardPath::parse(text, false), Err(fault), "{text:?}");
    }
    assert!(ForwardPath::parse("<>", false).is_err());
    assert!(ReversePath::parse("<postmaster>", false).is_err());
}

/// Proves: RFC 5321 §4.5.1
/// Covers: A1.16
#[test]
fn postmaster_needs_no_domain() {
    let hostname = Domain::parse("mail.example").unwrap();
    for text in ["<postmaster>", "<POSTMASTER>", "<PostMaster>"] {
        let path = ForwardPath::parse(text, false).unwrap();
        assert_eq!(path, ForwardPath::Postmaster);
        assert_eq!(path.or_at(&hostname).to_string(), "postmaster@mail.example");
    }
    let path = ForwardPath::parse("<postmaster@b>", false).unwrap();
    assert_eq!(path.or_at(&hostname).to_string(), "postmaster@b");
}

/// Proves: RFC 5321 §3.6.1
/// Covers: A1.15, A2.34
#[test]
fn source_routes_are_dropped() {
    for text in ["<@a:u@c>", "<@a,@b.example:u@c>"] {
        assert_eq!(ReversePath::parse(text, false).unwrap().to_string(), "<u@c>");
        assert_eq!(ForwardPath::parse(text, false).unwrap().to_string(), "<u@c>");
    }
    for text in ["<@a>", "<@a,@b u@c>", "<@a\r\n:u@c>", "<@\"a:\":u@c>", "<@"] {
        assert_eq!(ForwardPath::parse(text, false), Err(AddressError::PeerRoute), "{text:?}");
    }
}
