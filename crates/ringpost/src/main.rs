//! `ringpost`: a send-only mail delivery appliance.
//!
//! Only arguments, exit codes and printing live here and in the files beside
//! it; what decides stands on the floors below.
//!
//! Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 the daemon is not
//! there, 4 the daemon refused, 5 one side does not take the other's certificate,
//! 70 our own bug.

mod bench;
mod check;
mod client;
mod demo;
mod load;
mod manual;
mod new_file;
mod print;
mod remote;
mod remote_key;
mod serve;
mod top;
mod user;
mod verbs;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use remote::{At, RemoteArgs};

/// The data folder where none is named.
const DATA: &str = "ringpost-data";

/// Accepts mail by SMTP, keeps it in a durable queue, and delivers it.
#[derive(Debug, Parser)]
#[command(name = "ringpost", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon; prints `ready` when it accepts mail
    Serve(ServeArgs),
    /// Show the main job with everything embedded: daemon, name server, mail exchangers, load
    Demo(demo::DemoArgs),
    /// Load testing, of Ringpost or any other SMTP server
    #[command(subcommand)]
    Bench(bench::BenchVerb),
    /// Check a configuration: exit 0, or 1 with the places
    Check {
        /// The configuration file
        #[arg(default_value = "ringpost.toml")]
        file: PathBuf,
    },
    /// What the daemon is doing
    Status(Socket),
    /// The daemon on one screen, as it goes
    Top(top::TopArgs),
    /// Look at waiting mail and change it
    #[command(subcommand)]
    Queue(verbs::QueueVerb),
    /// What is known of mail domains, and the name servers that are asked
    #[command(subcommand)]
    Dns(verbs::dns::DnsVerb),
    /// What was learned of single hosts
    #[command(subcommand)]
    Hosts(verbs::hosts::HostsVerb),
    /// Where mail to an address goes, why, and what keeps it from going
    Explain(verbs::explain::ExplainArgs),
    /// Why mail is where it is, and when it goes on; how long a queue lasts
    Why(verbs::why::WhyArgs),
    /// Who is connected, in and out; cut one session
    #[command(subcommand)]
    Sessions(verbs::sessions::SessionsVerb),
    /// How each site fares: whether it answers, what waits for it, what it took of late
    Sites(verbs::sites::SitesArgs),
    /// Which limit binds at the sites with the most ready mail
    Limits(verbs::sessions::LimitsArgs),
    /// What became of recipients by domain, site, route, source or day, over restarts
    Stats(verbs::stats::StatsArgs),
    /// Walk the way of mail to an address, up to MAIL: exit 0, or 1 with what blocks it
    Diagnose(verbs::diagnose::DiagnoseArgs),
    /// Stop delivery to a domain, to a site, by a route, or all of it; mail keeps coming in
    Suspend(verbs::suspend::SuspendArgs),
    /// Go on with what was stopped
    Resume(verbs::suspend::ResumeArgs),
    /// Stop all delivery, or go on with it
    #[command(subcommand)]
    Delivery(verbs::suspend::DeliveryVerb),
    /// Look at the configuration and change it, revision by revision
    #[command(subcommand)]
    Config(verbs::config::ConfigVerb),
    /// Read the event log: the last lines, those that come, those that are looked for
    #[command(subcommand)]
    Log(verbs::log::LogVerb),
    /// The whole life of one message, from the event log: exit 0, or 1 if it knows nothing of it; or what is said, live
    Trace(verbs::log::TraceArgs),
    /// What needs somebody: alerts that stand; silence them for a while
    Alerts(verbs::alerts::AlertsArgs),
    /// How far each webhook is: what it got last, what waits for it, when it is tried again
    Webhooks(Socket),
    /// The same for syslog servers and the journal
    Syslog(Socket),
    /// One file for somebody who helps
    #[command(subcommand)]
    Support(verbs::support::SupportVerb),
    /// Write everything that was set into one file, with its secrets
    Backup(verbs::backup::BackupArgs),
    /// Put what such a file says in force, here or on another machine
    Restore(verbs::backup::RestoreArgs),
    /// The machine, where it is an appliance: updates, network, restart
    #[command(subcommand)]
    Appliance(verbs::appliance::ApplianceVerb),
    /// Make entries for the file of those who may log in
    #[command(subcommand)]
    User(user::UserVerb),
    /// Make the certificates for control from elsewhere: an authority, the daemon's, a client's
    RemoteKey(remote_key::RemoteKeyArgs),
    /// Log-ins, certificates and users by name, and where they are used; never a secret
    Credentials(Socket),
    /// Look at the routes and change them; a change takes effect by `config commit`
    #[command(subcommand)]
    Route(verbs::route::RouteVerb),
    /// Completion of these words for a shell, to be sourced by it
    Completion {
        /// bash, zsh or fish
        shell: manual::Shell,
    },
    /// The manual page, as roff
    #[command(hide = true)]
    Man,
}

/// Arguments of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The configuration file; without one, and without ./ringpost.toml, the defaults hold
    #[arg(long)]
    config: Option<PathBuf>,
    /// The folder for queue, log and sockets
    #[arg(long, default_value = DATA)]
    data: PathBuf,
    /// The folder in which the appliance's first process takes orders
    #[arg(long, hide = true)]
    appliance: Option<PathBuf>,
}

/// Which daemon is asked.
#[derive(Clone, Debug, Args)]
pub struct Socket {
    /// The daemon's data folder [default: ringpost-data]
    #[arg(long)]
    data: Option<PathBuf>,
    /// The control socket, if it is not in the data folder
    #[arg(long)]
    socket: Option<PathBuf>,
    #[command(flatten)]
    remote: Box<RemoteArgs>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl Socket {
    /// Who is asked.
    pub fn at(&self) -> At {
        let in_data = self.data.as_ref().map(|data| data.join("control.sock"));
        let usual = PathBuf::from(DATA).join("control.sock");
        self.remote.at(self.socket.clone().or(in_data), usual)
    }
}

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Serve(args) => serve::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Bench(verb) => bench::run(&verb),
        Verb::Check { file } => check::run(&file),
        Verb::Status(socket) => verbs::status(&socket),
        Verb::Top(args) => top::run(&args),
        Verb::Queue(verb) => verbs::queue(&verb),
        Verb::Dns(verb) => verbs::dns::run(&verb),
        Verb::Hosts(verb) => verbs::hosts::run(&verb),
        Verb::Explain(args) => verbs::explain::run(&args),
        Verb::Sessions(verb) => verbs::sessions::run(&verb),
        Verb::Sites(args) => verbs::sites::run(&args),
        Verb::Limits(args) => verbs::sessions::limits(&args),
        Verb::Stats(args) => verbs::stats::run(&args),
        Verb::Why(args) => verbs::why::run(&args),
        Verb::Diagnose(args) => verbs::diagnose::run(&args),
        Verb::Suspend(args) => verbs::suspend::suspend(&args),
        Verb::Resume(args) => verbs::suspend::resume(&args),
        Verb::Delivery(verb) => verbs::suspend::delivery(&verb),
        Verb::Log(verb) => verbs::log::run(&verb),
        Verb::Trace(args) => verbs::log::trace(&args),
        Verb::Alerts(args) => verbs::alerts::run(&args),
        Verb::Webhooks(socket) => verbs::sinks::webhooks(&socket),
        Verb::Syslog(socket) => verbs::sinks::syslog(&socket),
        Verb::Config(verb) => verbs::config::run(&verb),
        Verb::Support(verb) => verbs::support::run(&verb),
        Verb::Backup(args) => verbs::backup::backup(&args),
        Verb::Restore(args) => verbs::backup::restore(&args),
        Verb::Appliance(verb) => verbs::appliance::run(&verb),
        Verb::User(verb) => user::run(&verb),
        Verb::RemoteKey(args) => remote_key::run(&args),
        Verb::Credentials(socket) => verbs::credentials::run(&socket),
        Verb::Completion { shell } => manual::completion(shell),
        Verb::Man => manual::man(),
        Verb::Route(verb) => verbs::route::run(&verb),
    }
}
