//! Floor 2: DNS client, cache and MX order as state machines.
//!
//! Bytes, time and a seed come in; datagrams to send, sockets to close,
//! deadlines and results go out. [`Dns`] is the door: it turns a mail domain
//! into mail exchangers with addresses. Beneath it, [`Resolver`] turns one
//! question into one of three answers that are never mixed: found, none,
//! unknown. Only "none" is permanent; whatever else goes wrong is unknown.
//!
//! Never here: sockets, clocks, randomness of its own, retry of mail, the
//! choice of the host to try next, trust in the AD bit (RFC 6840 §5.7).
//!
//! Read first: RFC 1034, RFC 1035, RFC 2308, RFC 5321 §5.1, RFC 5452.

mod answer;
mod cache;
pub mod egress;
mod error;
mod forbidden;
mod hosts;
mod mx;
mod name;
mod query;
mod resolution;
mod resolv_conf;
mod resolver;
#[cfg(test)]
mod script;
mod server;
pub mod shown;

pub use answer::{Mx, Records};
pub use error::Reason;
pub use forbidden::forbidden;
pub use hosts::{Family, Host, Hosts};
pub use mx::{Exchange, Exchanger, Exchangers, Own};
pub use name::Name;
pub use query::Kind;
pub use resolution::{Dns, Resolution, Resolved, Token};
pub use resolv_conf::servers_from_resolv_conf;
pub use resolver::{
    ATTEMPTS_DEFAULT, Asked, Config, Lookup, LookupToken, Resolver, TIMEOUT_DEFAULT, Transmit,
};
