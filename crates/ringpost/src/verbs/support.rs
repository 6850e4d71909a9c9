//! `ringpost support bundle`: one file for somebody who helps.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::told;
use crate::Socket;
use crate::client;
use crate::new_file;

/// `ringpost support …`
#[derive(Debug, Subcommand)]
pub enum SupportVerb {
    /// Write what the daemon and its machine say of themselves into a file, without people and secrets
    Bundle(BundleArgs),
}

/// Arguments of `support bundle`.
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// The file, which must not be there yet; - for the standard output
    #[arg(default_value = "ringpost-support.json")]
    file: PathBuf,
    /// Domains and names of hosts go by numbers, too
    #[arg(long)]
    without_domains: bool,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost support …`
pub fn run(verb: &SupportVerb) -> ExitCode {
    let SupportVerb::Bundle(args) = verb;
    let domains = if args.without_domains { "remove" } else { "keep" };
    let path = format!("/v1/support-bundle?domains={domains}");
    let bundle = match client::request(&args.socket.at(), "GET", &path, None) {
        Ok(bundle) => format!("{bundle:#}\n"),
        Err(failure) => return told(failure),
    };
    new_file::hand_out(&args.file, bundle.as_bytes(), "look through it before you hand it on")
}
