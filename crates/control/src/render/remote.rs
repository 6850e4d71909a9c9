//! `[control]` written out as configuration.

use super::Out;
use crate::remote::RemoteControl;

/// Control from elsewhere.
pub(super) fn control(control: Option<&RemoteControl>, out: &mut Out) {
    out.section("[control]");
    let Some(RemoteControl { listen, identity, authority, names }) = control else {
        out.0.push_str("# listen: no port, only the control sockets\n");
        return;
    };
    out.texts("listen", listen);
    out.text("certificate", &identity.certificate);
    out.text("key", &identity.key);
    out.text("client_authority", &authority.file);
    out.texts("names", names);
}
