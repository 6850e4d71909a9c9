//! Stories told by the real daemon over real sockets, one file each: mail goes
//! in through one program, out to another, and what arrived is held against
//! what was promised.
//!
//! Never reaches beyond loopback. Every wait is for the event itself and has an
//! end; how long something took is printed, and decides nothing unless the
//! bound is the promise. Each program started is ended by the story that
//! started it.
//!
//! These need root, the release build of `ringpost`, and Postfix, NSD, swaks,
//! curl, Cyrus SASL, OpenSSL, MicroSocks, Dovecot, Prometheus, Chromium, tmux, rsyslog, iproute2 and Python; a missing one fails with its package's name.

mod alert_rules;
mod alerts;
mod answers;
mod appliance;
mod backup;
mod bench;
mod completion;
mod crash;
mod deep;
mod demo;
mod described;
mod detail;
mod diagnose;
mod doors;
mod egress;
mod etrn;
mod events;
mod exits;
mod hosts;
mod kinds;
mod links;
mod local;
mod log_in;
mod metrics;
mod modes;
mod moved;
mod mx;
mod operator;
mod page;
mod peers;
mod planted;
mod pop_first;
mod prometheus;
mod proxies;
mod purge;
mod relay;
mod remote_control;
mod reports;
mod retry;
mod revisions;
mod secure_intake;
mod sentence;
mod shortage;
mod speed;
mod statistics;
mod stop;
mod submitters;
mod support;
mod support_bundle;
mod syslog;
mod tokens;
mod top;
mod transfer;
mod webhooks;
mod whole_life;
