//! `[[webhook]]` and `[[syslog]]` written out as configuration.

use super::Out;
use crate::sink::{Selection, Syslog, Webhook};
use crate::units::Span;

/// One webhook; of its secret the file.
pub(super) fn webhook(hook: &Webhook, out: &mut Out) {
    let Webhook { name, url, selection, secret, batch, wait, timeout, retry, trust, plain } = hook;
    out.section("[[webhook]]");
    out.text("name", name);
    out.text("url", url);
    selected(selection, out);
    if let Some((file, _)) = secret {
        out.text("secret_file", file);
    }
    out.plain("batch", batch);
    out.text("wait", Span(*wait));
    out.text("timeout", Span(*timeout));
    out.text("retry", Span(*retry));
    out.text("trust", trust);
    out.plain("plain", plain);
}

/// One syslog server.
pub(super) fn syslog(log: &Syslog, out: &mut Out) {
    let Syslog { name, to, selection, facility: _, timeout, retry, trust } = log;
    out.section("[[syslog]]");
    out.text("name", name);
    out.text("to", to);
    selected(selection, out);
    out.text("facility", log.facility_word());
    out.text("timeout", Span(*timeout));
    out.text("retry", Span(*retry));
    out.text("trust", trust);
}

/// Which lines.
fn selected(selection: &Selection, out: &mut Out) {
    let Selection { events, domain, site } = selection;
    out.texts("events", events);
    if let Some(domain) = domain {
        out.text("domain", domain);
    }
    if let Some(site) = site {
        out.text("site", site);
    }
}
