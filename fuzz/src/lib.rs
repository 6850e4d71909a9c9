//! Fuzz targets as plain functions of bytes, each with its oracle.
//!
//! A target takes any bytes and panics when the product breaks a promise; it
//! reads no clock, file or randomness, so that a finding repeats. The tests of
//! this package run every target over its corpus and over mutations of it;
//! `libfuzzer/` beside this package lets libFuzzer search for more.

mod input;
mod smtp_reply;
mod smtp_session;
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
    smtp_reply::smtp_reply 5_000,
    smtp_session::smtp_session 4_000,
    submission::submission 2_000,
];

/// The target with this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}
