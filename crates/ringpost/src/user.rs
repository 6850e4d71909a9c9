//! `ringpost user hash`: makes an entry for the file of users.
//!
//! The password comes from the terminal, without being shown, or as one line
//! from standard input; never from an argument, which everybody on the machine
//! can read. It is not kept and not written anywhere.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap::Subcommand;
use control::log_in::{SECRET_BYTES_MAX, USER_BYTES_MAX};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use smtp::sasl::server::{ITERATIONS_USUAL, Keys};

/// What can be done about users.
#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Print an entry for the file of users; the password is asked for, or read from standard input
    Hash {
        /// The name to log in with
        name: String,
    },
}

/// Exit 0, or 1 with the reason.
pub fn run(verb: &UserVerb) -> ExitCode {
    let UserVerb::Hash { name } = verb;
    match hash(name) {
        Ok(entry) => {
            println!("{entry}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(1)
        }
    }
}

fn hash(name: &str) -> Result<String, String> {
    if name.is_empty() || name.len() > USER_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(format!(
            "a name must have 1 to {USER_BYTES_MAX} octets and no control characters"
        ));
    }
    let password = password().map_err(|error| format!("the password cannot be read: {error}"))?;
    let sound = !password.is_empty() && password.len() <= SECRET_BYTES_MAX;
    if !sound || password.contains('\0') {
        return Err(format!("a password must have 1 to {SECRET_BYTES_MAX} octets and no NUL"));
    }
    let salt = runtime::entropy::salt().map_err(|error| error.to_string())?;
    let keys = Keys::derive(password.as_bytes(), &salt, ITERATIONS_USUAL).to_text();
    Ok(format!("{} = {keys:?}", serde_json::Value::from(name)))
}

/// One line, from the terminal twice.
fn password() -> std::io::Result<String> {
    if !std::io::stdin().is_terminal() {
        return line();
    }
    let first = unseen("Password: ")?;
    match unseen("Once more: ")? == first {
        true => Ok(first),
        false => Err(std::io::Error::other("the two are not the same")),
    }
}

/// Asks without showing what is typed.
fn unseen(prompt: &str) -> std::io::Result<String> {
    eprint!("{prompt}");
    std::io::stderr().flush()?;
    let before = tcgetattr(std::io::stdin())?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent)?;
    let line = line();
    tcsetattr(std::io::stdin(), OptionalActions::Now, &before)?;
    eprintln!();
    line
}

fn line() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
