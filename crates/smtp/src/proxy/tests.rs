//! The handshake with proxies that are right, wrong, slow and talkative.

use super::*;

fn peer() -> SocketAddr {
    "192.0.2.1:25".parse().unwrap()
}

fn with_log_in() -> (Socks5, Vec<u8>) {
    Socks5::new(peer(), Some(("tim".into(), Secret::new(b"word"))))
}

const REQUEST: &[u8] = &[5, 1, 0, 1, 192, 0, 2, 1, 0, 25];
const GRANTED: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 1, 4, 0];

/// Covers: A5.17
/// Shows: S0.6, A16
#[test]
fn a_connection_is_asked_for_and_the_greeting_behind_it_handed_on() {
    let (mut socks, hello) = Socks5::new(peer(), None);
    assert_eq!(hello, [5, 1, 0]);
    assert!(!socks.has_asked());
    assert_eq!(socks.received(&[5, 0]), Step::Send(REQUEST.to_vec()));
    assert!(socks.has_asked());
    let answer = [GRANTED, b"220 mx"].concat();
    assert_eq!(socks.received(&answer), Step::Stands(b"220 mx".to_vec()));
}

/// Covers: A5.17
#[test]
fn a_password_is_given_only_when_asked_for() {
    let (mut socks, hello) = with_log_in();
    assert_eq!(hello, [5, 2, 0, 2]);
    assert_eq!(socks.received(&[5, 2]), Step::Send(b"\x01\x03tim\x04word".to_vec()));
    assert_eq!(socks.received(&[1, 0]), Step::Send(REQUEST.to_vec()));
    let (mut open, _) = with_log_in();
    assert_eq!(open.received(&[5, 0]), Step::Send(REQUEST.to_vec()));
    let (mut wrong, _) = with_log_in();
    wrong.received(&[5, 2]);
    let step = wrong.received(&[1, 1]);
    assert!(matches!(step, Step::Failed(Refusal::LocalProxyRefused(_))), "{step:?}");
}

#[test]
fn answers_may_come_octet_by_octet_in_every_form() {
    let peer_v6 = "[2001:db8::1]:587".parse().unwrap();
    for bound in [
        GRANTED.to_vec(),
        [&[5, 0, 0, 4][..], &[7; 18]].concat(),
        [&[5, 0, 0, 3, 255][..], &[b'x'; 257]].concat(),
    ] {
        let (mut socks, _) = Socks5::new(peer_v6, None);
        assert_eq!(socks.received(&[5]), Step::Wait);
        let Step::Send(request) = socks.received(&[0]) else { panic!("it asks") };
        assert_eq!((request[3], request.len()), (4, 22));
        let (last, first) = bound.split_last().unwrap();
        for byte in first {
            assert_eq!(socks.received(&[*byte]), Step::Wait);
        }
        assert_eq!(socks.received(&[*last, b'2']), Step::Stands(b"2".to_vec()));
    }
}

/// Covers: A5.17
#[test]
fn what_the_proxy_says_of_the_peer_is_told_from_what_it_says_of_itself() {
    for reply in 1..=255u8 {
        let (mut socks, _) = Socks5::new(peer(), None);
        socks.received(&[5, 0]);
        let step = socks.received(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]);
        let of_peer = matches!(step, Step::Failed(Refusal::PeerUnreached(_)));
        assert_eq!(of_peer, matches!(reply, 1 | 3 | 4 | 5 | 6 | 8), "{reply}: {step:?}");
        assert!(matches!(step, Step::Failed(_)), "{reply}");
    }
}

#[test]
fn garbage_ends_it_without_growing() {
    for said in [&b"HTTP/1.1 400"[..], &[4, 0], &[5, 9], &[5, 2], &[5, 0, 1]] {
        let (mut socks, _) = Socks5::new(peer(), None);
        assert!(matches!(socks.received(said), Step::Failed(_)), "{said:?}");
        assert!(matches!(socks.received(&[5, 0]), Step::Failed(_)), "it has ended");
    }
    let (mut socks, _) = Socks5::new(peer(), None);
    socks.received(&[5, 0]);
    let flood = vec![5u8; 1 << 20];
    assert!(matches!(socks.received(&flood), Step::Failed(_)));
    assert!(socks.answer.len() <= ANSWER_BYTES_MAX);
    let (mut stands, _) = Socks5::new(peer(), None);
    stands.received(&[5, 0]);
    let long = [GRANTED, &vec![b'x'; 1 << 20]].concat();
    assert_eq!(stands.received(&long), Step::Stands(vec![b'x'; 1 << 20]), "nothing is lost");
}

#[test]
fn a_proxy_header_has_both_addresses_of_one_family() {
    let header = proxy_header("192.0.2.9".parse().unwrap(), peer()).unwrap();
    assert_eq!(&header[..12], b"\r\n\r\n\0\r\nQUIT\n");
    assert_eq!(header[12..], [0x21, 0x11, 0, 12, 192, 0, 2, 9, 192, 0, 2, 1, 0, 0, 0, 25]);
    let v6: SocketAddr = "[2001:db8::1]:25".parse().unwrap();
    let header = proxy_header("2001:db8::9".parse().unwrap(), v6).unwrap();
    assert_eq!((header.len(), header[13], header[15]), (16 + 36, 0x21, 36));
    assert_eq!(proxy_header("192.0.2.9".parse().unwrap(), v6), None);
}
