//! `ringpost backup`, `ringpost restore`: everything that was set, as one file,
//! and from it another daemon that is the same.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::config::committed;
use super::{encoded, told};
use crate::Socket;
use crate::client;
use crate::new_file;
use crate::print::{clean_text, put};

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file, which must not be there yet; - for the standard output
    file: PathBuf,
    #[command(flatten)]
    socket: Socket,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The file
    file: PathBuf,
    /// Why, for the history
    #[arg(long, default_value = "")]
    comment: String,
    /// Undo it after this time, such as 10m, unless `config confirm` comes first
    #[arg(long, conflicts_with = "next_start")]
    confirm: Option<String>,
    /// It changes what only a restart can change, and may wait for one
    #[arg(long)]
    next_start: bool,
    #[command(flatten)]
    socket: Socket,
}

/// Largest backup that is sent, in octets.
const BYTES_MAX: u64 = control::api::BACKUP_BYTES_MAX as u64;

/// `ringpost backup`
pub fn backup(args: &BackupArgs) -> ExitCode {
    let mut backup = match client::carry(&args.socket.at(), "GET", "/v1/backup", &[]) {
        Ok(backup) => backup,
        Err(failure) => return told(failure),
    };
    let elsewhere = serde_json::from_slice::<Value>(&backup).unwrap_or_default();
    for name in elsewhere["elsewhere"].as_array().into_iter().flatten() {
        let name = clean_text(name.as_str().unwrap_or_default());
        eprintln!("not in it, as it lies elsewhere than the configuration: {name}");
    }
    backup.push(b'\n');
    let advice = "keep it to yourself, it holds keys and what is stored of passwords";
    new_file::hand_out(&args.file, &backup, advice)
}

/// `ringpost restore`
pub fn restore(args: &RestoreArgs) -> ExitCode {
    let RestoreArgs { file, comment, confirm, next_start, socket } = args;
    let backup = match read(file) {
        Ok(backup) => backup,
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            return ExitCode::from(2);
        }
    };
    let effect = confirm.as_deref().unwrap_or(if *next_start { "next-start" } else { "at-once" });
    let path = format!("/v1/restore?effect={}&comment={}", encoded(effect), encoded(comment));
    let body = match client::put(&socket.at(), &path, &backup) {
        Ok(body) => body,
        Err(failure) => return told(failure),
    };
    let shown = match socket.json {
        true => format!("{body:#}\n"),
        false => restored(&body) + &committed(&body),
    };
    put(&shown).map_or_else(|code| code, |()| ExitCode::SUCCESS)
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if std::fs::metadata(file)?.len() > BYTES_MAX {
        return Err(io::Error::other("it is too large for a backup"));
    }
    std::fs::read(file)
}

fn restored(body: &Value) -> String {
    let files = body["files"].as_array().map_or(0, Vec::len);
    let orders = &body["orders"];
    format!("the configuration with {files} files, {orders} suspensions and silences\n")
}
