//! Control from elsewhere: the verbs of `ringpost` on this machine, with a
//! client's certificate, against the guest's port for control.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::guest::{CONTROL_PORT, Guest};
use crate::image::{self, call};

/// The exit code where one side does not take the other's certificate.
pub const NOT_TAKEN: i32 = 5;

/// An authority with the certificates of a guest and of an operator.
pub struct Elsewhere {
    program: PathBuf,
    folder: PathBuf,
}

impl Elsewhere {
    /// Makes them in a folder of their own, with the program `ringpost`.
    ///
    /// # Errors
    /// What it says.
    pub fn make(program: &Path, folder: &Path) -> io::Result<Self> {
        let mut make = Command::new(program);
        make.arg("remote-key").arg(folder).args(["--host", "127.0.0.1", "--client", "operator"]);
        call(make.stdout(Stdio::null()))?;
        Ok(Self { program: program.to_owned(), folder: folder.to_owned() })
    }

    /// Puts the guest's half onto the EFI partition of its disk.
    ///
    /// # Errors
    /// What mtools says.
    pub fn seed(&self, disk: &Path) -> io::Result<()> {
        for name in ["authority.pem", "server.pem", "server.key"] {
            image::seed_file(disk, &self.folder.join(name), name)?;
        }
        Ok(())
    }

    /// Lines for the guest's configuration.
    pub fn configuration() -> String {
        format!(
            "[control]\nlisten = [\"0.0.0.0:{CONTROL_PORT}\"]\ncertificate = \"server.pem\"\n\
             key = \"server.key\"\nclient_authority = \"authority.pem\"\n"
        )
    }

    /// Runs a verb against a guest, to its end.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn ask(&self, guest: &Guest, words: &[&str]) -> io::Result<Output> {
        let mut verb = Command::new(&self.program);
        verb.args(words).arg("--host").arg(format!("127.0.0.1:{}", guest.control()));
        let file = |name: &str| self.folder.join(name);
        verb.arg("--ca").arg(file("authority.pem"));
        verb.arg("--certificate").arg(file("operator.pem"));
        verb.arg("--key").arg(file("operator.key"));
        verb.stdin(Stdio::null()).output()
    }

    /// Runs a verb that must do what it is for; what it said.
    ///
    /// # Errors
    /// What it said instead.
    pub fn done(&self, guest: &Guest, words: &[&str]) -> io::Result<String> {
        let output = self.ask(guest, words)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let why = format!("{}: {}; {said}{complaint}", words.join(" "), output.status);
        Err(guest.blamed(&why))
    }

    /// A client that another authority vouches for.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub fn stranger(&self) -> io::Result<Self> {
        let folder = self.folder.with_extension("stranger");
        let stranger = Self::make(&self.program, &folder)?;
        // It knows the guest; the guest does not know it.
        fs::copy(self.folder.join("authority.pem"), folder.join("authority.pem"))?;
        Ok(stranger)
    }
}
