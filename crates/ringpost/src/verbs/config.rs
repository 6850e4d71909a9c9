//! `ringpost config …`: the configuration in force, its settings one by one,
//! and what they mean.
//!
//! Never edits a text by itself: the daemon does, so that `curl` can do the
//! same.

use std::process::ExitCode;

use clap::Subcommand;

use super::ask;
use crate::Socket;

/// `ringpost config …`
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum ConfigVerb {
    /// The configuration in force, defaults written out
    Show(Socket),
    /// What a setting means, what may be written, and what holds without it; needs no daemon
    Help {
        /// A setting or a section; all without one
        #[arg(default_value = "")]
        path: String,
        /// The whole reference as a Markdown page
        #[arg(long)]
        page: bool,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
}

/// `ringpost config …`
pub fn run(verb: &ConfigVerb) -> ExitCode {
    match verb {
        ConfigVerb::Show(socket) => ask(socket, "GET", "/v1/config", None, |body| {
            body["toml"].as_str().unwrap_or_default().to_string()
        }),
        ConfigVerb::Help { page: true, .. } => {
            print!("{}", control::help::page());
            ExitCode::SUCCESS
        }
        ConfigVerb::Help { path, json, .. } => help(path, *json),
    }
}

/// `ringpost config help`
fn help(path: &str, json: bool) -> ExitCode {
    let found = control::help::below(path);
    if found.is_empty() {
        eprintln!("{path} {}", control::help::unknown(path));
        return ExitCode::from(1);
    }
    if json {
        println!("{:#}", control::help::to_json(&found));
        return ExitCode::SUCCESS;
    }
    for help in found {
        match help.is_section() {
            true => println!("[{}]\n    {}\n", help.path, help.meaning),
            false => println!(
                "{}\n    {}\n    values:  {}\n    default: {}{}\n",
                help.path,
                help.meaning,
                help.values,
                help.default,
                if help.takes_effect.is_at_start() {
                    "\n    takes effect at the next start"
                } else {
                    ""
                }
            ),
        }
    }
    ExitCode::SUCCESS
}
