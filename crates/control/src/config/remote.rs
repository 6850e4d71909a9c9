//! `[control]`: control from elsewhere, which is all set or off.

use std::net::SocketAddr;
use std::sync::Arc;

use super::cx::{Cx, Item, Keys};
use super::submission::{IDENTITY, WrittenIdentity, pem};
use super::values;
use crate::remote::{Authority, LISTEN_MAX, NAMES_MAX, PORT_USUAL, RemoteControl};

/// Octets of a common name (RFC 5280 has room for 64 characters).
const NAME_BYTES_MAX: usize = 256;
/// What it takes.
const NEEDED: [&str; 4] = ["listen", "certificate", "key", "client_authority"];

/// What was written: without all of it there is no port.
#[derive(Default)]
pub(super) struct Written {
    listen: Vec<SocketAddr>,
    files: WrittenIdentity,
    authority: Option<Authority>,
    names: Vec<Box<str>>,
}

pub(super) const CONTROL: &Keys<Written> = &[
    ("listen", |cx, item, w| {
        cx.set(&mut w.listen, item, |cx, item| values::list(cx, item, LISTEN_MAX, address));
    }),
    ("certificate", |cx, item, w| (IDENTITY[0].1)(cx, item, &mut w.files)),
    ("key", |cx, item, w| (IDENTITY[1].1)(cx, item, &mut w.files)),
    ("client_authority", |cx, item, w| {
        let read = pem(cx, item, "CERTIFICATE");
        w.authority = read.map(|(file, bytes)| Authority { file, certificates: bytes.into() });
    }),
    ("names", |cx, item, w| {
        cx.set(&mut w.names, item, |cx, item| values::list(cx, item, NAMES_MAX, name));
    }),
];

/// Reads the section; none where it is off, or faulty.
pub(super) fn control(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Arc<RemoteControl>> {
    let mut written = Written::default();
    cx.table(item, CONTROL, &mut written);
    let (set, lacking): (Vec<&str>, Vec<&str>) =
        NEEDED.into_iter().partition(|key| cx.is_set(&format!("control.{key}")));
    if !set.is_empty() && !lacking.is_empty() {
        let lacking: Vec<_> = lacking.iter().map(|key| format!("`{key}`")).collect();
        let message = format!(
            "lacks {}: control from elsewhere takes a certificate on both sides",
            lacking.join(", ")
        );
        cx.error(item.span(), message);
        return None;
    }
    if set.is_empty() && cx.is_set("control.names") {
        cx.warn_at("control.names", "is of no use without `listen`");
    }
    let Written { listen, files, authority, names } = written;
    let identity = files.resolve(cx, item.span())?;
    let control = RemoteControl { listen, identity, authority: authority?, names };
    (!control.listen.is_empty()).then(|| Arc::new(control))
}

fn address(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<SocketAddr> {
    let address = values::socket(cx, item, Some(PORT_USUAL))?;
    if address.port() == 0 {
        cx.error(item.span(), "must name a port, such as \"192.0.2.10:8026\"");
        return None;
    }
    Some(address)
}

fn name(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Box<str>> {
    let name = values::text(cx, item)?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        cx.error(item.span(), "must be the common name of a certificate, such as \"ann\"");
        return None;
    }
    Some(name.into())
}

#[cfg(test)]
mod tests {
    use mail::Domain;

    use crate::config::Config;

    fn read(text: &str) -> Result<Config, String> {
        let machine = Domain::parse("box.example").unwrap();
        Config::parse(text, &machine).map_err(|refused| refused.to_string())
    }

    const WHOLE: &str = "[control]\nlisten = [\"192.0.2.10:8026\", \"[::1]:8026\"]\n\
                         certificate = \"server.pem\"\nkey = \"server.key\"\n\
                         client_authority = \"authority.pem\"\n";

    #[test]
    fn it_is_off_or_whole_and_never_without_an_authority() {
        assert_eq!(read("").unwrap().policy.control, None);
        assert_eq!(read("[control]\n").unwrap().policy.control, None);
        let named = format!("{WHOLE}names = [\"ann\", \"bob\"]\n");
        let policy = read(&named).unwrap().policy;
        let control = policy.control.clone().unwrap();
        assert_eq!((control.listen.len(), control.names.len()), (2, 2));
        assert_eq!(&*control.authority.file, "authority.pem");
        let shown = policy.effective_toml();
        assert_eq!(read(&shown).unwrap().policy, policy, "{shown}");
        let off = WHOLE.replace("[\"192.0.2.10:8026\", \"[::1]:8026\"]", "[]");
        assert_eq!(read(&off).unwrap().policy.control, None);
        for line in WHOLE.lines().skip(1) {
            let key = line.split(' ').next().unwrap();
            let said = read(&WHOLE.replace(line, "")).unwrap_err();
            assert!(said.contains(&format!("control lacks `{key}`")), "{said}");
        }
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (change, words) in [
            (("192.0.2.10:8026", "box.example"), "control.listen"),
            (("192.0.2.10:8026", "192.0.2.10:0"), "must name a port"),
            (("client_authority", "client_authorities"), "did you mean `client_authority`?"),
            (("\"authority.pem\"", "\"authority.pem\"\nnames = [\"\"]"), "common name"),
        ] {
            let said = read(&WHOLE.replace(change.0, change.1)).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
        let lonely = read("[control]\nnames = [\"ann\"]\n").unwrap();
        assert!(lonely.warnings[0].message.contains("of no use"), "{:?}", lonely.warnings);
    }
}
