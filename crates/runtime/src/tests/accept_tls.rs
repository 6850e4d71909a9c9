//! TLS with clients of rustls on plain threads.

use std::io::{Read, Write};
use std::sync::Arc;

use base::secret::Secret;
use control::{Identity, Listener, Submission, TlsMode};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use shard::effect::Effect;
use shard::event::Event;

use super::*;
use crate::script::{script, seen};
use crate::tls_server::ServerConfigs;

/// One listener with a certificate, and what a client trusts.
fn certificate() -> (Arc<ServerConfigs>, Arc<ClientConfig>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["mx.example".into()]).unwrap();
    let identity = Identity {
        certificate: "a.pem".into(),
        chain: cert.pem().into_bytes().into(),
        key: "a.key".into(),
        secret: Secret::new(signing_key.serialize_pem().as_bytes()),
    };
    let listener = Listener {
        address: "127.0.0.1:1".parse().unwrap(),
        tls: TlsMode::Opportunistic,
        identity: Some(Arc::new(identity)),
        proxies: Vec::new(),
        lmtp: false,
    };
    let submission = Submission { listen: vec![listener], ..Submission::default() };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cert.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (ServerConfigs::of(&submission).unwrap(), Arc::new(client))
}

fn in_tls(far: TcpStream, config: Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("mx.example").unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), far)
}

#[test]
fn a_client_is_secured_in_place_behind_what_was_said_in_the_clear() {
    let (certificates, client_config) = certificate();
    let (saw, seen) = seen();
    let fleet = Fleet::with_certificates(
        vec![script(move |event, stage| match event {
            Event::Accepted { conn, .. } => {
                stage.effects.push(Effect::Send { conn, bytes: b"220 go\r\n".to_vec() });
                stage.effects.push(Effect::AcceptTls { conn });
            }
            Event::TlsEstablished { conn, description } => {
                saw.send(description).unwrap();
                stage.effects.push(Effect::Send { conn, bytes: b"inside".to_vec() });
            }
            Event::Received { conn, bytes } => {
                saw.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
                stage.effects.push(Effect::Send { conn, bytes: b"BYE".to_vec() });
                stage.effects.push(Effect::Close { conn });
            }
            other => assert!(!matches!(other, Event::TlsFailed { .. }), "{other:?}"),
        })],
        b"",
        certificates,
    );
    let mut far = client(&fleet, 0);
    let mut words = [0; 8];
    far.read_exact(&mut words).unwrap();
    assert_eq!(words, *b"220 go\r\n");
    let mut far = in_tls(far, client_config);
    let mut inside = [0; 6];
    far.read_exact(&mut inside).unwrap();
    assert_eq!(inside, *b"inside");
    assert!(seen.next().starts_with("TLSv1.3 "));
    far.write_all(b"EHLO c\r\n").unwrap();
    assert_eq!(seen.next(), "EHLO c\r\n");
    let mut last = Vec::new();
    // An orderly end: with the notice, this is no error.
    far.read_to_end(&mut last).unwrap();
    assert_eq!(last, b"BYE");
}

/// Covers: A5.3
#[test]
fn commands_in_the_clear_are_no_handshake_and_never_reach_the_core() {
    let (certificates, _) = certificate();
    let (saw, seen) = seen();
    let fleet = Fleet::with_certificates(
        vec![script(move |event, stage| match event {
            Event::Accepted { conn, .. } => stage.effects.push(Effect::AcceptTls { conn }),
            Event::TlsFailed { conn, .. } => {
                saw.send("failed").unwrap();
                stage.effects.push(Effect::Close { conn });
            }
            Event::Received { .. } | Event::TlsEstablished { .. } => saw.send("heard").unwrap(),
            _ => {}
        })],
        b"",
        certificates,
    );
    let mut far = client(&fleet, 0);
    far.write_all(b"MAIL FROM:<evil@b.example>\r\n").unwrap();
    assert_eq!(seen.next(), "failed");
    let mut words = Vec::new();
    far.read_to_end(&mut words).unwrap();
    assert_eq!(words.first(), Some(&21), "an alert, and no word in the clear: {words:?}");
    drop(fleet);
    assert!(seen.nothing());
}

#[test]
fn a_listener_without_a_certificate_fails_the_handshake() {
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Accepted { conn, .. } => stage.effects.push(Effect::AcceptTls { conn }),
            Event::TlsFailed { conn, reason, .. } => {
                saw.send(reason).unwrap();
                stage.effects.push(Effect::Abort { conn });
            }
            _ => {}
        })],
        b"",
    );
    let _far = client(&fleet, 0);
    assert!(seen.next().contains("no certificate"));
}
