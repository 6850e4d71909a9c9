//! Updates: an image behind a manifest that is signed (`init::update` says what
//! that is), and the keys for it.
//!
//! Never keeps a private key anywhere but in the file that it was asked to make.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{call, sha256};

/// A private key in a file, made by OpenSSL.
#[derive(Debug)]
pub struct Key {
    file: PathBuf,
}

impl Key {
    /// The key in `file`, which may have to be made first.
    pub fn of(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// Makes it, for Ed25519.
    ///
    /// # Errors
    /// There is a file already, or what OpenSSL says.
    pub fn make(&self) -> io::Result<()> {
        if self.file.exists() {
            return Err(io::Error::other(format!("{} is there already", self.file.display())));
        }
        call(
            Command::new("openssl")
                .args(["genpkey", "-algorithm", "ed25519", "-out"])
                .arg(&self.file),
        )
    }

    /// Its public half as the image holds it: 64 hexadecimal digits.
    ///
    /// # Errors
    /// What OpenSSL says, or a key of another kind.
    pub fn public(&self) -> io::Result<String> {
        let mut openssl = Command::new("openssl");
        openssl.args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(&self.file);
        let said = openssl.output()?;
        // What stands in front of the 32 octets says that they are of Ed25519.
        let prefix = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
        let key = said.stdout.strip_prefix(&prefix[..]).filter(|key| key.len() == 32);
        let key = key.ok_or_else(|| {
            io::Error::other(format!("{} is no private key of Ed25519", self.file.display()))
        })?;
        Ok(key.iter().map(|octet| format!("{octet:02x}")).collect::<String>() + "\n")
    }
}

/// Writes `program`, an image for the firmware, as an update to `update`.
///
/// # Errors
/// What OpenSSL or the file system says.
pub fn sign(program: &Path, version: &str, key: &Key, update: &Path) -> io::Result<()> {
    let digest = sha256(program)?;
    let bytes = fs::metadata(program)?.len();
    let manifest =
        format!("RINGPOST-UPDATE 1\nversion = {version}\nbytes = {bytes}\nsha256 = {digest}\n\n");
    let (text, signature) = (update.with_extension("manifest"), update.with_extension("signature"));
    fs::write(&text, &manifest)?;
    let mut openssl = Command::new("openssl");
    openssl.args(["pkeyutl", "-sign", "-rawin", "-inkey"]).arg(&key.file);
    call(openssl.arg("-in").arg(&text).arg("-out").arg(&signature))?;
    let mut file = File::create(update)?;
    file.write_all(manifest.as_bytes())?;
    file.write_all(&fs::read(&signature)?)?;
    io::copy(&mut File::open(program)?, &mut file)?;
    fs::remove_file(text)?;
    fs::remove_file(signature)
}
