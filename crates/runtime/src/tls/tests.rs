//! A client session against a rustls server, both over memory.

use std::net::{IpAddr, Ipv4Addr};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

use super::*;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn check(name: &str, trust: Option<Trust>) -> TlsCheck {
    TlsCheck { name: name.to_string(), trust, identity: None }
}

fn trust_in(pem: &str) -> Trust {
    let certificates = pem.as_bytes().into();
    Trust::Pem(Arc::new(Authority { file: "roots.pem".into(), certificates }))
}

fn server(name: &str) -> (Arc<ServerConfig>, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.into()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (Arc::new(config), cert.pem())
}

/// Passes bytes both ways until nothing moves; gives back what the client saw.
fn converse(client: &mut TlsSession, server: &mut ServerConnection, plain: &mut Vec<u8>) -> Fed {
    converse_and_read(client, server, plain, &mut Vec::new())
}

fn converse_and_read(
    client: &mut TlsSession,
    server: &mut ServerConnection,
    plain: &mut Vec<u8>,
    at_server: &mut Vec<u8>,
) -> Fed {
    let mut seen = Fed::default();
    loop {
        let mut wire = Vec::new();
        client.write_to(&mut wire).unwrap();
        let mut moved = !wire.is_empty();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            // An alert of the client is an error here; the client has its own.
            let _ = server.process_new_packets();
            let _ = server.reader().read_to_end(at_server);
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        moved |= !wire.is_empty();
        let fed = client.feed(&wire, plain);
        seen.established = seen.established.or(fed.established);
        seen.failure = seen.failure.or(fed.failure);
        seen.closed |= fed.closed;
        if !moved {
            return seen;
        }
    }
}

fn handshake(configs: &mut TlsConfigs, server_config: &Arc<ServerConfig>, check: &TlsCheck) -> Fed {
    let mut client = configs.session(check, PEER).unwrap();
    let mut server = ServerConnection::new(server_config.clone()).unwrap();
    converse(&mut client, &mut server, &mut Vec::new())
}

/// Covers: A5.7, B65
#[test]
fn any_certificate_will_do_where_none_is_demanded() {
    let (server_config, _) = server("other.example");
    for name in ["mx.example", "mx.example.", "not_a-name!", "192.0.2.1"] {
        let fed = handshake(&mut TlsConfigs::new(), &server_config, &check(name, None));
        assert_eq!(fed.failure, None, "{name}");
        let description = fed.established.unwrap();
        assert!(description.starts_with("TLSv1.3 TLS13_AES"), "{description}");
    }
}

/// Covers: B65
#[test]
fn a_demanded_certificate_is_checked_against_roots_and_name() {
    let (server_config, pem) = server("mx.example");
    let trust = Some(trust_in(&pem));
    let mut configs = TlsConfigs::new();

    let right = handshake(&mut configs, &server_config, &check("mx.example", trust.clone()));
    assert!(right.established.is_some(), "{right:?}");
    let wrong_name = handshake(&mut configs, &server_config, &check("my.example", trust));
    assert!(wrong_name.failure.unwrap().certificate);
    let wrong_root =
        handshake(&mut configs, &server_config, &check("mx.example", Some(Trust::WebPki)));
    assert!(wrong_root.failure.unwrap().certificate);
}

/// Covers: B72
#[test]
fn a_session_cannot_begin_without_roots_or_a_name_to_check() {
    let mut configs = TlsConfigs::new();
    let no_name = configs.session(&check("not a name", Some(Trust::WebPki)), PEER).unwrap_err();
    assert!(no_name.certificate, "{}", no_name.reason);
    for pem in ["", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        let none = Some(trust_in(pem));
        let no_roots = configs.session(&check("mx.example", none), PEER).unwrap_err();
        assert!(!no_roots.certificate);
        assert!(no_roots.reason.starts_with("cannot read roots.pem: "), "{}", no_roots.reason);
    }
}

/// Covers: A5.5, B64
#[test]
fn plain_text_in_place_of_a_handshake_is_a_failure_but_none_of_the_certificate() {
    let mut client = TlsConfigs::new().session(&check("mx.example", None), PEER).unwrap();
    let mut plain = Vec::new();
    let fed = client.feed(b"250-mx.example\r\n250 PIPELINING\r\n", &mut plain);
    let failure = fed.failure.unwrap();
    assert!(!failure.certificate, "{}", failure.reason);
    assert_eq!(plain, b"", "nothing sent in the clear is ever read as protected");
    assert!(client.feed(b"more", &mut plain).failure.is_none(), "one failure is told once");
}

/// Covers: A13.3, B70
#[test]
fn bytes_pass_both_ways_and_an_end_is_noticed() {
    let (server_config, _) = server("mx.example");
    let mut client = TlsConfigs::new().session(&check("mx.example", None), PEER).unwrap();
    let mut server = ServerConnection::new(server_config).unwrap();
    let mut plain = Vec::new();
    assert_eq!(client.encrypt(b"early"), 0, "nothing leaves before the handshake");
    assert!(converse(&mut client, &mut server, &mut plain).established.is_some());

    let big = vec![7u8; 300_000];
    server.writer().write_all(b"250 ok\r\n").unwrap();
    let mut sent = 0;
    let mut got = Vec::new();
    while sent < big.len() {
        sent += client.encrypt(&big[sent..]);
        let fed = converse_and_read(&mut client, &mut server, &mut plain, &mut got);
        assert_eq!(fed.failure, None);
    }
    assert_eq!(got, big);
    assert_eq!(plain, b"250 ok\r\n");
    server.send_close_notify();
    assert!(converse(&mut client, &mut server, &mut plain).closed);
}

/// Covers: A13.3, B70
#[test]
fn a_second_session_is_resumed_only_under_the_same_trust() {
    let (server_config, pem) = server("mx.example");
    let trust = Some(trust_in(&pem));
    let mut configs = TlsConfigs::new();
    let mut kinds = Vec::new();
    for trust in [None, None, trust.clone(), trust] {
        let mut client = configs.session(&check("mx.example", trust), PEER).unwrap();
        let mut server = ServerConnection::new(server_config.clone()).unwrap();
        assert!(converse(&mut client, &mut server, &mut Vec::new()).established.is_some());
        kinds.push(client.connection.handshake_kind().unwrap() == rustls::HandshakeKind::Resumed);
    }
    assert_eq!(kinds, [false, true, false, true]);
}
