//! Files that are made, never replaced: what is there already is somebody's.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

/// Makes a file of that mode which was not there; it is on the disk afterwards.
///
/// # Errors
/// As the file system says; one that is there already among them.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// What a verb was asked for, as a file for its owner's eyes alone, with a word
/// of advice about it; - is the standard output. Exit 0, or 1 with the reason.
pub fn hand_out(path: &Path, bytes: &[u8], advice: &str) -> ExitCode {
    let is_output = path == Path::new("-");
    let done = match is_output {
        true => io::stdout().write_all(bytes),
        false => create(path, bytes, 0o600),
    };
    match done {
        Ok(()) if is_output => ExitCode::SUCCESS,
        Ok(()) => {
            println!("{}: {advice}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::from(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_for_its_owner_alone_and_what_is_there_stays() {
        let path = std::env::temp_dir().join(format!("ringpost-new-file-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        assert_eq!(hand_out(&path, b"first\n", "look at it"), ExitCode::SUCCESS);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(hand_out(&path, b"second\n", "look at it"), ExitCode::from(1));
        assert_eq!(std::fs::read(&path).unwrap(), b"first\n");
        std::fs::remove_file(&path).unwrap();
    }
}
