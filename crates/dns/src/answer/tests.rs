//! Answers read, against a scripted server: conformance A12, faults 73 to 83.

use super::*;
use crate::query::{Dice, Manner, encode};
use crate::script::Reply;
use base::Rng;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, TXT};
use mail::Domain;

fn ask(kind: Kind) -> (Vec<u8>, Sent) {
    ask_with(kind, true)
}

fn ask_with(kind: Kind, mixed_case: bool) -> (Vec<u8>, Sent) {
    let manner = Manner { tcp: false, edns: true, mixed_case };
    let name = Name::of(&Domain::parse("example.com").unwrap()).unwrap();
    encode(&mut Dice::new(&mut Rng::new(7)), &name, kind, manner)
}

fn dns_name(text: &str) -> Name {
    Name::of(&Domain::parse(text).unwrap()).unwrap()
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn found_a(list: &[[u8; 4]], ttl: u64) -> Reading {
    let records = Records::A(list.iter().copied().map(Ipv4Addr::from).collect());
    Reading::Found { records, ttl: seconds(ttl) }
}

/// Reads what `script` makes of the query.
fn read_reply(kind: Kind, script: impl FnOnce(Reply) -> Reply) -> Reading {
    let (query, sent) = ask(kind);
    read(&script(Reply::to(&query)).bytes(), &sent)
}

/// Proves: RFC 5452 §9.1
/// Covers: A12.1, B74
#[test]
fn what_differs_in_id_name_type_class_or_direction_is_not_ours() {
    let (query, sent) = ask(Kind::A);
    let right = Reply::to(&query).a("example.com", 60, [192, 0, 2, 1]).bytes();
    assert_eq!(read(&right, &sent), found_a(&[[192, 0, 2, 1]], 60));
    let question_end = HEADER_BYTES + sent.question.len();
    for place in [0, 1, 5, 13, question_end - 3, question_end - 1] {
        let mut wrong = right.clone();
        wrong[place] ^= 0x01;
        assert_eq!(read(&wrong, &sent), Reading::NotOurs, "octet {place}");
    }
    let mut back = right.clone();
    back[2] &= 0x7f;
    assert_eq!(read(&back, &sent), Reading::NotOurs, "a query");
    let mut update = right.clone();
    update[2] |= 5 << 3;
    assert_eq!(read(&update, &sent), Reading::NotOurs, "another operation");
    for end in 0..question_end {
        assert_eq!(read(&right[..end], &sent), Reading::NotOurs, "cut at {end}");
    }
}

/// Covers: A12.3
#[test]
fn the_wrong_letter_case_is_told_apart_from_the_wrong_name() {
    let (query, sent) = ask(Kind::A);
    let mut folded = Reply::to(&query).a("example.com", 60, [192, 0, 2, 1]).bytes();
    folded[HEADER_BYTES..HEADER_BYTES + 13].make_ascii_lowercase();
    assert_eq!(read(&folded, &sent), Reading::Folded);
}

/// Proves: RFC 1035 §4.1.1
/// Covers: A12.9
#[test]
fn response_codes_keep_failure_and_absence_apart() {
    for (code, expected) in [
        (ResponseCode::ServFail, Reading::Failed(Reason::PeerServerFailure)),
        (ResponseCode::Refused, Reading::Failed(Reason::PeerRefused)),
        (ResponseCode::NotAuth, Reading::Failed(Reason::PeerServerFailure)),
        (ResponseCode::FormErr, Reading::NoEdns),
        (ResponseCode::NotImp, Reading::NoEdns),
        (ResponseCode::BADVERS, Reading::NoEdns),
        (ResponseCode::BADCOOKIE, Reading::Failed(Reason::PeerServerFailure)),
        (ResponseCode::NXDomain, Reading::None { nxdomain: true, ttl: seconds(1) }),
    ] {
        assert_eq!(read_reply(Kind::A, |reply| reply.code(code)), expected, "{code}");
    }
    let (query, mut sent) = ask(Kind::A);
    sent.edns = false;
    let formerr = Reply::to(&query).code(ResponseCode::FormErr).bytes();
    assert_eq!(read(&formerr, &sent), Reading::Failed(Reason::PeerFormat));
}

/// A server that cannot parse the query cannot repeat its question.
/// Proves: RFC 6891 §7
/// Covers: A12.5
#[test]
fn a_complaint_may_come_without_the_question() {
    let (query, sent) = ask(Kind::A);
    let mut bare = Reply::to(&query).code(ResponseCode::FormErr).bytes();
    bare.truncate(HEADER_BYTES);
    bare[5] = 0;
    assert_eq!(read(&bare, &sent), Reading::NoEdns);
    bare[3] = bare[3] & 0xf0 | NXDOMAIN;
    assert_eq!(read(&bare, &sent), Reading::NotOurs, "anything else may not");
}

/// Proves: RFC 7766 §5
/// Covers: A12.4, B75
#[test]
fn a_truncated_answer_is_not_used() {
    let reading =
        read_reply(Kind::A, |reply| reply.a("example.com", 60, [192, 0, 2, 1]).truncated());
    assert_eq!(reading, Reading::Truncated);
}

/// Proves: RFC 2308 §5
/// Covers: A12.9, B81
#[test]
fn a_none_is_kept_as_long_as_the_soa_record_says_but_not_for_ever() {
    for (zone, ttl, minimum, kept) in [
        ("example.com", 600, 60, 60),
        ("com", 30, 600, 30),
        (".", 0, 600, 1),
        ("example.com", 1_000_000, 1_000_000, 10_800),
        ("example.com", 1 << 31, 600, 1),
        ("other.example", 600, 600, 1),
    ] {
        for (code, nxdomain) in [(ResponseCode::NoError, false), (ResponseCode::NXDomain, true)] {
            let reading = read_reply(Kind::Mx, |reply| reply.soa(zone, ttl, minimum).code(code));
            let expected = Reading::None { nxdomain, ttl: seconds(kept) };
            assert_eq!(reading, expected, "{zone} {ttl} {minimum}");
        }
    }
}

/// Proves: RFC 2308 §2.2
/// Covers: A12.9
#[test]
fn a_referral_or_a_server_that_does_not_resolve_is_no_none() {
    let failed = Reading::Failed(Reason::PeerNotRecursive);
    assert_eq!(read_reply(Kind::Mx, |reply| reply.referral("com")), failed);
    let blank = |mut reply: Reply| {
        reply.0.metadata.recursion_available = false;
        reply
    };
    assert_eq!(read_reply(Kind::Mx, blank), failed);
    let with_soa = read_reply(Kind::Mx, |reply| reply.referral("com").soa("com", 60, 60));
    assert_eq!(with_soa, Reading::None { nxdomain: false, ttl: seconds(60) });
    let plain = read_reply(Kind::Mx, |reply| reply);
    assert_eq!(plain, Reading::None { nxdomain: false, ttl: seconds(1) });
}

/// Proves: RFC 2181 §8
/// Covers: A12.11, B81
#[test]
fn times_to_live_are_held_between_their_bounds() {
    for (ttl, kept) in [(0, 1), (1 << 31, 1), (u32::MAX, 1), (300, 300), (u32::MAX >> 1, 86_400)] {
        let reading = read_reply(Kind::A, |reply| reply.a("example.com", ttl, [192, 0, 2, 1]));
        assert_eq!(reading, found_a(&[[192, 0, 2, 1]], kept), "{ttl}");
    }
    let unequal = read_reply(Kind::A, |reply| {
        reply.cname("example.com", 50, "b.example").a("b.example", 80, [192, 0, 2, 1]).a(
            "b.example",
            70,
            [192, 0, 2, 2],
        )
    });
    assert_eq!(unequal, found_a(&[[192, 0, 2, 1], [192, 0, 2, 2]], 50), "the shortest counts");
}

/// Proves: RFC 2181 §5.4.1
/// Covers: A12.7, B77
#[test]
fn only_the_answer_section_and_only_the_name_asked_for_count() {
    let reading = read_reply(Kind::A, |reply| {
        let mut reply = reply.a("example.com", 60, [203, 0, 113, 3]);
        reply.0.answers[0].dns_class = DNSClass::CH;
        reply
            .a("victim.example", 60, [203, 0, 113, 1])
            .soa("example.com", 60, 60)
            .additional("example.com", RData::A(A(Ipv4Addr::new(203, 0, 113, 2))))
    });
    assert_eq!(reading, Reading::None { nxdomain: false, ttl: seconds(60) });
}

/// A path that is not ours may set any bit: nothing of ours depends on AD.
/// Proves: RFC 6840 §5.7
/// Covers: A12.12, B83
#[test]
fn the_ad_bit_changes_nothing() {
    let plain = read_reply(Kind::A, |reply| reply.a("example.com", 60, [192, 0, 2, 1]));
    let adorned = read_reply(Kind::A, |mut reply| {
        reply.0.metadata.authentic_data = true;
        reply.a("example.com", 60, [192, 0, 2, 1])
    });
    assert_eq!(plain, adorned);
}

fn chain(mut reply: Reply, hops: usize) -> Reply {
    let name_at = |at: usize| if at == 0 { "example.com".into() } else { format!("n{at}.example") };
    for at in 0..hops {
        reply = reply.cname(&name_at(at), 60, &name_at(at + 1));
    }
    reply
}

/// Proves: RFC 1034 §3.6.2
/// Covers: A2.23, A2.29, A12.8, B78
#[test]
fn aliases_are_followed_to_the_bound_and_circles_end() {
    let end = format!("n{CNAME_CHAIN_MAX}.example");
    let whole =
        read_reply(Kind::A, |reply| chain(reply, CNAME_CHAIN_MAX).a(&end, 60, [192, 0, 2, 1]));
    assert_eq!(whole, found_a(&[[192, 0, 2, 1]], 60));
    let looping = Reading::Failed(Reason::PeerAliasLoop);
    let long = read_reply(Kind::A, |reply| {
        chain(reply, CNAME_CHAIN_MAX + 1).a("n9.example", 60, [192, 0, 2, 1])
    });
    assert_eq!(long, looping);
    let circle =
        read_reply(Kind::A, |reply| chain(reply, 2).cname("n2.example", 60, "EXAMPLE.com"));
    assert_eq!(circle, looping);
    let own_tail = read_reply(Kind::A, |reply| reply.cname("example.com", 60, "example.com"));
    assert_eq!(own_tail, looping);
    let open = read_reply(Kind::A, |reply| chain(reply, 2));
    let target = dns_name("n2.example");
    assert_eq!(open, Reading::Alias { target, hops: 2, ttl: seconds(60) });
}

/// Proves: RFC 6604 §3
/// Covers: A12.8
#[test]
fn a_code_after_an_alias_is_about_its_end() {
    let gone = read_reply(Kind::A, |reply| {
        chain(reply, 1).code(ResponseCode::NXDomain).soa("n1.example", 600, 600)
    });
    assert_eq!(gone, Reading::None { nxdomain: true, ttl: seconds(60) });
    let contradiction = read_reply(Kind::A, |reply| {
        reply.code(ResponseCode::NXDomain).a("example.com", 60, [192, 0, 2, 1])
    });
    assert_eq!(contradiction, Reading::Failed(Reason::PeerMalformed));
}

/// Conformance B2, fault 76: an answer as large as TCP allows.
///
/// Covers: A12.15, B76
#[test]
fn a_flood_of_records_is_cut_to_its_bounds() {
    let many = read_reply(Kind::Mx, |reply| {
        (0..1_500u16).fold(reply, |reply, at| {
            reply.mx("example.com", 60, 3_000 - at, &format!("h{at}.example"))
        })
    });
    let Reading::Found { records: Records::Mx(list), .. } = many else { panic!("{many:?}") };
    assert_eq!(list.len(), EXCHANGES_KEPT_MAX);
    assert_eq!(list[0].exchange, dns_name("h255.example"), "the best of those read");
    let addresses = read_reply(Kind::A, |reply| {
        (0..100u8).fold(reply, |reply, at| reply.a("example.com", 60, [192, 0, 2, at / 2]))
    });
    let Reading::Found { records: Records::A(list), .. } = addresses else { panic!() };
    assert_eq!(list.len(), ADDRESSES_PER_HOST_MAX);
    assert_eq!(list[1], Ipv4Addr::new(192, 0, 2, 1), "repetitions are dropped");
    let noise = read_reply(Kind::A, |reply| {
        (0..300u16).fold(reply, |reply, _| reply.a("x.example", 60, [192, 0, 2, 1]))
    });
    assert_eq!(noise, Reading::Failed(Reason::PeerMalformed), "no none out of noise");
}

/// Covers: B76
#[test]
fn texts_are_joined_and_bounded() {
    let reading = read_reply(Kind::Txt, |reply| {
        let long = "x".repeat(255);
        let strings = vec![long.as_str(); TEXT_BYTES_MAX / 255 + 1];
        let data = RData::TXT(TXT::new(strings.iter().map(|s| (*s).to_owned()).collect()));
        reply.txt("example.com", 60, &["v=STSv1; ", "id=1;"]).record("example.com", 60, data)
    });
    let records = Records::Txt(vec![b"v=STSv1; id=1;".to_vec()]);
    assert_eq!(reading, Reading::Found { records, ttl: seconds(60) });
}

/// Proves: RFC 1035 §4.1.4
/// Covers: A12.6, B76
#[test]
fn malformed_answers_are_failures() {
    let (query, sent) = ask_with(Kind::A, false);
    let right = Reply::to(&query).a("example.com", 60, [192, 0, 2, 1]).bytes();
    let question_end = HEADER_BYTES + sent.question.len();
    let malformed = Reading::Failed(Reason::PeerMalformed);
    for end in question_end..right.len() {
        assert_eq!(read(&right[..end], &sent), malformed, "cut at {end}");
    }
    assert_eq!(right[question_end] & 0xc0, 0xc0, "the owner's name is a pointer");
    for pointer in [question_end as u16, question_end as u16 + 40, 0x3fff] {
        let mut circle = right.clone();
        circle[question_end..question_end + 2].copy_from_slice(&(0xc000 | pointer).to_be_bytes());
        assert_eq!(read(&circle, &sent), malformed, "pointer to {pointer}");
    }
    let mut counts = Reply::to(&query).soa("com", 60, 60).bytes();
    counts[7] = 200;
    assert_eq!(read(&counts, &sent), malformed, "more records promised than there");
}
