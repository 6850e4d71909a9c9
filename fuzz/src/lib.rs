//! Fuzz targets as plain functions of bytes, each with its oracle.
//!
//! A target takes any bytes and panics when the product breaks a promise; it
//! reads no clock, file or randomness, so that a finding repeats. The tests of
//! this package run every target over its corpus and over mutations of it;
//! `libfuzzer/` beside this package lets libFuzzer search for more.

mod control_api;
mod control_config;
mod dns_answer;
mod dns_servers;
mod init_dhcp;
mod init_network;
mod init_sntp;
mod input;
mod mail_address;
mod mail_dsn;
mod mail_header;
mod quoted_printable;
mod shard_events;
mod smtp_reply;
mod smtp_session;
mod spool_record;
mod spool_recover;
mod submission;
mod wire;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is that of its folder in `corpus/`.
    pub name: &'static str,
    /// Runs it over one input.
    ///
    /// # Panics
    /// When a promise is broken.
    pub run: fn(&[u8]),
    /// Mutations of its corpus that a test run walks: a second's worth.
    pub mutations: u64,
}

macro_rules! targets {
    ($($module:ident::$name:ident $mutations:literal),* $(,)?) => {
        &[$(Target {
            name: stringify!($name),
            run: $module::$name,
            mutations: $mutations,
        }),*]
    };
}

/// All targets.
pub const TARGETS: &[Target] = targets![
    mail_address::mail_address 5_000,
    mail_header::mail_header 1_000,
    mail_dsn::mail_dsn 300,
    smtp_reply::smtp_reply 5_000,
    smtp_session::smtp_session 1_500,
    submission::submission 800,
    dns_answer::dns_answer 1_500,
    dns_servers::dns_servers 5_000,
    spool_record::spool_record 300,
    spool_recover::spool_recover 100,
    shard_events::shard_events 80,
    control_config::control_config 1_000,
    control_api::control_api 5_000,
    init_dhcp::init_dhcp 2_000,
    init_network::init_network 5_000,
    init_sntp::init_sntp 5_000,
];

/// The target with this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}
