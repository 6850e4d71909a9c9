//! `ringpost support bundle`: one file for somebody who helps.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::told;
use crate::Socket;
use crate::client;

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
    match written(&args.file, bundle.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", args.file.display());
            ExitCode::from(1)
        }
    }
}

fn written(file: &Path, bundle: &[u8]) -> io::Result<()> {
    if file == Path::new("-") {
        return io::stdout().write_all(bundle);
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(file)?.write_all(bundle)?;
    println!("{}: look through it before you hand it on", file.display());
    Ok(())
}
