//! The name server asked over real sockets.

use super::*;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

fn question(name: &str, kind: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(4_711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

fn ask_udp_raw(server: &NameServer, question: &[u8], wait: Duration) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(wait)).unwrap();
    socket.send_to(question, server.address()).unwrap();
    let mut buffer = vec![0; 65_535];
    let bytes = socket.recv(&mut buffer).ok()?;
    buffer.truncate(bytes);
    Some(buffer)
}

fn ask(server: &NameServer, name: &str, kind: RecordType) -> Message {
    let question = question(name, kind, Some(1_232));
    let answer = ask_udp_raw(server, &question, Duration::from_secs(20)).expect("an answer");
    Message::from_vec(&answer).unwrap()
}

fn ask_tcp(server: &NameServer, name: &str, kind: RecordType) -> Message {
    let question = question(name, kind, None);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(&(question.len() as u16).to_be_bytes()).unwrap();
    stream.write_all(&question).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    Message::from_vec(&answer).unwrap()
}

fn exchangers(message: &Message) -> Vec<(u16, String)> {
    let mx = |data: &RData| match data {
        RData::MX(mx) => Some((mx.preference, mx.exchange.to_ascii())),
        _ => None,
    };
    message.answers.iter().filter_map(|record| mx(&record.data)).collect()
}

#[test]
fn records_are_served_and_counted() {
    let mut zones = Zones::new();
    zones.mx("d.example", 10, "mx1.d.example").mx("d.example", 20, "mx2.d.example");
    zones
        .address("mx1.d.example", [127, 0, 0, 3])
        .address("mx1.d.example", std::net::Ipv6Addr::LOCALHOST);
    let server = NameServer::start(zones).unwrap();
    let answer = ask(&server, "D.Example.", RecordType::MX);
    assert_eq!(answer.metadata.id, 4_711);
    assert!(answer.metadata.recursion_available);
    let expected = [(10, "mx1.d.example.".to_owned()), (20, "mx2.d.example.".to_owned())];
    assert_eq!(exchangers(&answer), expected);
    assert_eq!(answer.queries[0].name().to_ascii(), "D.Example.", "the case is kept");
    assert_eq!(ask(&server, "mx1.d.example.", RecordType::A).answers.len(), 1);
    assert_eq!(ask(&server, "mx1.d.example.", RecordType::AAAA).answers.len(), 1);
    assert_eq!(exchangers(&ask_tcp(&server, "d.example.", RecordType::MX)), expected);
    assert_eq!(server.asked("d.EXAMPLE.", "MX"), Asked { udp: 1, tcp: 1 });
    assert_eq!(server.asked_in_all(), Asked { udp: 3, tcp: 1 });
}

#[test]
fn nothing_and_no_such_name_are_told_apart() {
    let mut zones = Zones::new().ttl(300, 7);
    zones.address("host.d.example", [127, 0, 0, 3]).null_mx("none.example");
    let server = NameServer::start(zones).unwrap();
    let nothing = ask(&server, "host.d.example.", RecordType::MX);
    assert_eq!(nothing.metadata.response_code, ResponseCode::NoError);
    assert!(nothing.answers.is_empty());
    assert_eq!(nothing.authorities[0].ttl, 7);
    let between = ask(&server, "d.example.", RecordType::MX);
    assert_eq!(between.metadata.response_code, ResponseCode::NoError);
    let gone = ask(&server, "gone.example.", RecordType::MX);
    assert_eq!(gone.metadata.response_code, ResponseCode::NXDomain);
    let null = ask(&server, "none.example.", RecordType::MX);
    assert_eq!(exchangers(&null), [(0, ".".to_owned())]);
}

#[test]
fn aliases_are_followed_to_a_bound() {
    let mut zones = Zones::new();
    zones.alias("www.example", "host.example").address("host.example", [127, 0, 0, 3]);
    zones.alias("loop.example", "loop.example");
    let server = NameServer::start(zones).unwrap();
    let answer = ask(&server, "www.example.", RecordType::A);
    assert_eq!(answer.answers.len(), 2);
    assert_eq!(ask(&server, "loop.example.", RecordType::A).answers.len(), 16);
}

#[test]
fn large_answers_are_cut_over_udp_and_whole_over_tcp() {
    let mut zones = Zones::new();
    for number in 0..100 {
        zones.mx("big.example", number, &format!("mx{number}.big.example"));
    }
    zones.mx("cut.example", 1, "mx.example").fate("cut.example", Fate::Truncated);
    let server = NameServer::start(zones).unwrap();
    for name in ["big.example.", "cut.example."] {
        let answer = ask(&server, name, RecordType::MX);
        assert!(answer.metadata.truncation, "{name}");
        assert!(answer.answers.is_empty(), "{name}");
    }
    assert_eq!(ask_tcp(&server, "big.example.", RecordType::MX).answers.len(), 100);
    assert_eq!(ask_tcp(&server, "cut.example.", RecordType::MX).answers.len(), 1);
    let roomy = question("big.example.", RecordType::MX, Some(8_192));
    let answer = ask_udp_raw(&server, &roomy, Duration::from_secs(20)).unwrap();
    assert!(!Message::from_vec(&answer).unwrap().metadata.truncation);
}

#[test]
fn every_failure_is_as_named() {
    let mut zones = Zones::new();
    let fates = [
        ("fail.example", Fate::ServFail),
        ("refuse.example", Fate::Refused),
        ("silent.example", Fate::Silent),
        ("late.example", Fate::Late(Duration::from_millis(50))),
        ("garbage.example", Fate::Garbage),
        ("forged.example", Fate::WrongId),
    ];
    for (name, fate) in fates {
        zones.address(name, [127, 0, 0, 3]).fate(name, fate);
    }
    let server = NameServer::start(zones).unwrap();
    let code = |name| ask(&server, name, RecordType::A).metadata.response_code;
    assert_eq!(code("fail.example."), ResponseCode::ServFail);
    assert_eq!(code("refuse.example."), ResponseCode::Refused);
    let silent = question("silent.example.", RecordType::A, None);
    assert_eq!(ask_udp_raw(&server, &silent, Duration::from_millis(50)), None);
    assert_eq!(server.asked("silent.example", "A").udp, 1);
    let asked = Instant::now();
    assert_eq!(ask(&server, "late.example.", RecordType::A).answers.len(), 1);
    assert!(asked.elapsed() >= Duration::from_millis(50));
    let garbage = question("garbage.example.", RecordType::A, None);
    let answer = ask_udp_raw(&server, &garbage, Duration::from_secs(20)).unwrap();
    assert!(Message::from_vec(&answer).is_err());
    assert_ne!(ask(&server, "forged.example.", RecordType::A).metadata.id, 4_711);
}

#[test]
fn nonsense_is_not_answered_and_does_no_harm() {
    let server = NameServer::start(Zones::new()).unwrap();
    assert_eq!(ask_udp_raw(&server, b"what?", Duration::from_millis(20)), None);
    let gone = ask(&server, "x.example.", RecordType::A);
    assert_eq!(gone.metadata.response_code, ResponseCode::NXDomain);
}
