//! Relay hosts of well-known providers, so that nobody has to look them up.
//!
//! What a preset says is what the provider's own pages say of mail from
//! programs; each setting can still be written beside it, and then counts.

use crate::log_in::AuthMethod;
use crate::mode::TlsMode;

/// One provider's relay host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// What the configuration calls it.
    pub name: &'static str,
    /// The host's name.
    pub host: &'static str,
    /// Its port.
    pub port: u16,
    /// TLS towards it; always one that checks the certificate.
    pub tls: TlsMode,
    /// The log-ins that it takes.
    pub methods: &'static [AuthMethod],
}

use AuthMethod::{Login, Plain, XOAuth2};

const PASSWORD: &[AuthMethod] = &[Plain, Login];
const TOKEN: &[AuthMethod] = &[XOAuth2];
const BOTH: &[AuthMethod] = &[XOAuth2, Plain, Login];

/// All presets.
pub const PRESETS: [Preset; 14] = [
    preset("gmail", "smtp.gmail.com", 587, BOTH),
    preset("google-workspace", "smtp-relay.gmail.com", 587, BOTH),
    preset("microsoft365", "smtp.office365.com", 587, TOKEN),
    preset("outlook", "smtp-mail.outlook.com", 587, TOKEN),
    preset("yahoo", "smtp.mail.yahoo.com", 587, BOTH),
    preset("icloud", "smtp.mail.me.com", 587, PASSWORD),
    preset("fastmail", "smtp.fastmail.com", 465, PASSWORD),
    preset("ses-us-east-1", "email-smtp.us-east-1.amazonaws.com", 587, PASSWORD),
    preset("ses-eu-west-1", "email-smtp.eu-west-1.amazonaws.com", 587, PASSWORD),
    preset("ses-eu-central-1", "email-smtp.eu-central-1.amazonaws.com", 587, PASSWORD),
    preset("sendgrid", "smtp.sendgrid.net", 587, PASSWORD),
    preset("mailgun", "smtp.mailgun.org", 587, PASSWORD),
    preset("mailgun-eu", "smtp.eu.mailgun.org", 587, PASSWORD),
    preset("postmark", "smtp.postmarkapp.com", 587, PASSWORD),
];

const fn preset(
    name: &'static str,
    host: &'static str,
    port: u16,
    methods: &'static [AuthMethod],
) -> Preset {
    let tls = if port == 465 { TlsMode::Implicit } else { TlsMode::Required };
    Preset { name, host, port, tls, methods }
}

/// The preset of this name.
pub fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_preset_is_sound_and_has_a_name_of_its_own() {
        for preset in &PRESETS {
            assert_eq!(find(preset.name), Some(preset), "{} twice", preset.name);
            assert!(mail::Domain::parse(preset.host).is_ok(), "{}", preset.host);
            assert!(matches!(preset.tls, TlsMode::Required | TlsMode::Implicit));
            assert!(!preset.methods.is_empty());
        }
    }
}
