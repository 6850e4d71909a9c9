//! How long the certificates are good that are in use: as they were read with
//! the configuration, for the files may hold others by now.
//!
//! Never reads a file. Invariant: what is no certificate is left out.

use base::Wall;
use control::alert::{Seen, Sight};
use control::{Identity, Mode, Policy, certificate};

use crate::tls_server::first_certificate;

/// How long each certificate is still good.
pub(super) fn seen(policy: &Policy, now: Wall) -> Seen {
    let left = |(file, pem): (&str, &[u8])| {
        let end = certificate::not_after(&first_certificate(pem)?)?;
        Some(Sight::of(file, end.since(now).as_millis() as u64))
    };
    certificates(policy).into_iter().filter_map(left).collect()
}

/// All certificates that we prove ourselves with, or that others have to: each
/// once, by its file, with what that held. The daemon may stand in another folder
/// than its configuration, so that the names alone would lead nowhere.
fn certificates(policy: &Policy) -> Vec<(&str, &[u8])> {
    let intake = &policy.submission;
    let of_listeners = intake.listen.iter().filter_map(|it| it.identity.as_ref());
    let mut own: Vec<&Identity> =
        intake.tls.iter().chain(of_listeners).map(|identity| &**identity).collect();
    own.extend(policy.control.iter().map(|control| &*control.identity));
    for way in policy.ways() {
        let Mode::Relay(hosts) = &way.mode else { continue };
        own.extend(hosts.iter().filter_map(|host| host.identity.as_deref()));
    }
    let mut files: Vec<_> = own.iter().map(|it| (&*it.certificate, &*it.chain)).collect();
    let authority = policy.control.iter().map(|control| &control.authority);
    files.extend(authority.map(|it| (&*it.file, &*it.certificates)));
    files.sort_unstable();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use base::Wall;

    /// Certificates are named as the configuration has them, which is not where
    /// the daemon stands: it once looked for them there, and saw none end.
    #[test]
    fn certificates_are_seen_wherever_the_daemon_stands() {
        let made = rcgen::generate_simple_self_signed(["mx.example".into()]).unwrap();
        let pem = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
        let mut files = |_: &str| Ok(pem.clone().into_bytes());
        let text = "[submission]\ntls = { certificate = \"a.pem\", key = \"a.key\" }\n\
                    [control]\nlisten = [\"127.0.0.1\"]\ncertificate = \"a.pem\"\n\
                    key = \"a.key\"\nclient_authority = \"b.pem\"\n";
        let machine = mail::Domain::parse("box.example").unwrap();
        let policy = control::Config::parse_with(text, &machine, &mut files).unwrap().policy;
        let seen = super::seen(&policy, Wall::from_millis(1));
        let names: Vec<&str> = seen.iter().map(|sight| &*sight.subject).collect();
        assert_eq!(names, ["a.pem", "b.pem"]);
        assert!(seen.iter().all(|sight| sight.value > 1_000), "{seen:?}");
    }
}
