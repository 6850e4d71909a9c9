//! TLS against a server of rustls on a plain thread.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use base::{ConnId, SegmentId};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use shard::effect::{Effect, TlsCheck};
use shard::event::Event;

use super::*;
use crate::script::{Stage, script, seen};

fn server_config() -> Arc<ServerConfig> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["mx.example".into()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    Arc::new(config)
}

fn start_tls(stage: &mut Stage<'_>, conn: ConnId, trust: Option<control::Trust>) {
    stage.effects.push(Effect::Send { conn, bytes: b"STARTTLS\r\n".to_vec() });
    let check = TlsCheck { name: "mx.example".into(), trust, identity: None };
    stage.effects.push(Effect::StartTls { conn, check });
}

fn read_plain(far: &mut TcpStream, expected: &[u8]) {
    let mut words = vec![0; expected.len()];
    far.read_exact(&mut words).unwrap();
    assert_eq!(words, expected);
}

#[test]
fn a_connection_is_upgraded_in_place_and_carries_a_body() {
    const BODY: usize = 1 << 20;
    let body: Vec<u8> = (0..BODY).map(|n| (n / 5) as u8).collect();
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Accepted { conn, .. } => start_tls(stage, conn, None),
            Event::TlsEstablished { conn, description } => {
                saw.send(description).unwrap();
                stage.effects.push(Effect::Send { conn, bytes: b"BODY".to_vec() });
                stage.effects.push(Effect::SendBody {
                    conn,
                    segment: SegmentId(7),
                    offset: 0,
                    len: BODY as u32,
                });
            }
            Event::Received { conn, bytes } => {
                saw.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
                stage.effects.push(Effect::Send { conn, bytes: b"BYE".to_vec() });
                stage.effects.push(Effect::Close { conn });
            }
            other => assert!(!matches!(other, Event::TlsFailed { .. }), "{other:?}"),
        })],
        &body,
    );
    let mut far = client(&fleet, 0);
    read_plain(&mut far, b"STARTTLS\r\n");
    let mut far = StreamOwned::new(ServerConnection::new(server_config()).unwrap(), far);
    let mut got = vec![0; 4 + BODY];
    far.read_exact(&mut got).unwrap();
    assert!(seen.next().starts_with("TLSv1.3 "));
    assert_eq!(got[..4], *b"BODY");
    assert!(got[4..] == body, "the body arrived damaged");
    far.write_all(b"250 ok\r\n").unwrap();
    far.flush().unwrap();
    assert_eq!(seen.next(), "250 ok\r\n");
    let mut last = Vec::new();
    // An orderly end: with the notice, this is no error.
    far.read_to_end(&mut last).unwrap();
    assert_eq!(last, b"BYE");
}

/// Covers: B65
#[test]
fn a_wrong_certificate_is_told_and_the_connection_stands_until_aborted() {
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Accepted { conn, .. } => {
                start_tls(stage, conn, Some(control::Trust::WebPki));
            }
            Event::TlsFailed { conn, reason, certificate } => {
                saw.send((reason, certificate)).unwrap();
                stage.effects.push(Effect::Abort { conn });
            }
            Event::TlsEstablished { .. } | Event::Closed { .. } => {
                saw.send(("told".to_string(), false)).unwrap();
            }
            _ => {}
        })],
        b"",
    );
    let mut far = client(&fleet, 0);
    read_plain(&mut far, b"STARTTLS\r\n");
    let mut far = StreamOwned::new(ServerConnection::new(server_config()).unwrap(), far);
    assert!(far.read(&mut [0; 9]).is_err());
    let (reason, certificate) = seen.next();
    assert!(certificate, "{reason}");
    drop(fleet);
    assert!(seen.nothing());
}

/// Covers: A5.5, B63
#[test]
fn plain_text_behind_starttls_is_never_read_as_protected() {
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Accepted { conn, .. } => start_tls(stage, conn, None),
            Event::TlsFailed { certificate, .. } => saw.send(("failed", certificate)).unwrap(),
            Event::Received { .. } => saw.send(("received", false)).unwrap(),
            _ => {}
        })],
        b"",
    );
    let mut far = client(&fleet, 0);
    far.write_all(b"250 injected\r\n").unwrap();
    read_plain(&mut far, b"STARTTLS\r\n");
    assert_eq!(seen.next(), ("failed", false));
    drop(fleet);
    assert!(seen.nothing());
}

/// Covers: B64
#[test]
fn a_stalled_handshake_ends_when_the_core_says_so() {
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Accepted { conn, .. } => {
                start_tls(stage, conn, None);
                *stage.deadline = Some(stage.now.mono + Duration::from_millis(40));
            }
            Event::Tick if stage.deadline.is_some() => {
                *stage.deadline = None;
                stage.effects.push(Effect::Abort { conn: ConnId(0) });
                saw.send("aborted").unwrap();
            }
            Event::Closed { .. } | Event::TlsFailed { .. } => saw.send("told").unwrap(),
            _ => {}
        })],
        b"",
    );
    let mut far = client(&fleet, 0);
    read_plain(&mut far, b"STARTTLS\r\n");
    let mut hello = Vec::new();
    // The hello, and then the reset of the abort.
    assert!(far.read_to_end(&mut hello).is_err());
    assert_eq!(hello[0], 22, "a handshake record was sent");
    assert_eq!(seen.next(), "aborted");
    drop(fleet);
    assert!(seen.nothing());
}

/// Covers: B64
#[test]
fn an_end_in_the_middle_of_the_handshake_is_told_as_closed() {
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Accepted { conn, .. } => start_tls(stage, conn, None),
            Event::Closed { .. } => saw.send("closed").unwrap(),
            Event::TlsFailed { .. } => saw.send("failed").unwrap(),
            _ => {}
        })],
        b"",
    );
    let mut far = client(&fleet, 0);
    read_plain(&mut far, b"STARTTLS\r\n");
    drop(far);
    assert_eq!(seen.next(), "closed");
}
