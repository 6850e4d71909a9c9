//! How a revision lies on the disk: a head of comments, an empty line, and the
//! text as it was committed, so that the file can be read, checked and used as
//! a configuration by itself. Beside the revisions lies one file with the
//! numbers that point at them.
//!
//! Never guesses: a file that does not read as it was written is no revision.

use base::Wall;

use super::{Origin, Revision};

/// What stands beside the revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointers {
    /// The revision that rules after a restart.
    pub current: u64,
    /// The revision that the configuration file last held.
    pub file: u64,
}

/// Bytes that a revision's file is longer than its text, at most: the head's
/// words, seven numbers, a comment and a name of which each byte is escaped.
pub const HEAD_BYTES_MAX: usize = 512 + 6 * (super::COMMENT_BYTES_MAX + super::MAKER_BYTES_MAX);

const FIRST: &str = "# ringpost revision ";

/// The file of a revision.
pub fn written(revision: &Revision, text: &str) -> String {
    let Revision { number, base, time, uid, pid, origin, comment } = revision;
    let (time, comment) = (time.as_millis(), serde_json::json!(comment));
    let origin = match origin.maker() {
        Some(maker) => format!("{origin} {}", serde_json::json!(maker)),
        None => origin.to_string(),
    };
    let bytes = text.len();
    format!(
        "{FIRST}{number}\n# base {base}\n# time-ms {time}\n# uid {uid}\n# pid {pid}\n\
         # origin {origin}\n# comment {comment}\n# bytes {bytes}\n\n{text}"
    )
}

/// A revision and its text; `None` for anything that [`written`] did not make.
pub fn read(file: &str) -> Option<(Revision, &str)> {
    let (revision, bytes) = read_head(file.as_bytes(), file.len() as u64)?;
    let text = file.get(file.len() - usize::try_from(bytes).ok()?..)?;
    Some((revision, text))
}

/// A revision and the bytes of its text, from the start of its file (at least
/// [`HEAD_BYTES_MAX`] bytes of it, or all) and the bytes of the whole; `None`
/// for anything that [`written`] did not make.
pub fn read_head(start: &[u8], file_bytes: u64) -> Option<(Revision, u64)> {
    let end = start.windows(2).position(|two| two == b"\n\n")? + 2;
    let mut head = Head(std::str::from_utf8(&start[..end]).ok()?);
    let number = head.number(FIRST)?;
    let base = head.number("# base ")?;
    let time = Wall::from_millis(head.number("# time-ms ")?);
    let uid = head.line("# uid ")?.parse().ok()?;
    let pid = head.line("# pid ")?.parse().ok()?;
    let origin = match head.line("# origin ")? {
        "file" => Origin::File,
        "socket" => Origin::Socket,
        other => {
            let maker: String = serde_json::from_str(other.strip_prefix("remote ")?).ok()?;
            Origin::Remote(maker.into())
        }
    };
    let comment = serde_json::from_str(head.line("# comment ")?).ok()?;
    let bytes = head.number("# bytes ")?;
    head.line("").filter(|line| line.is_empty())?;
    if !head.0.is_empty() || end as u64 + bytes != file_bytes {
        return None;
    }
    Some((Revision { number, base, time, uid, pid, origin, comment }, bytes))
}

/// The file with the pointers.
pub fn written_pointers(pointers: Pointers) -> String {
    format!("current {}\nfile {}\n", pointers.current, pointers.file)
}

/// The pointers; `None` for anything that [`written_pointers`] did not make.
pub fn read_pointers(file: &str) -> Option<Pointers> {
    let mut lines = Head(file);
    let current = lines.number("current ")?;
    let file = lines.number("file ")?;
    lines.0.is_empty().then_some(Pointers { current, file })
}

/// What is left to read.
struct Head<'a>(&'a str);

impl<'a> Head<'a> {
    /// The rest of a whole line that begins with `word`.
    fn line(&mut self, word: &str) -> Option<&'a str> {
        let (line, rest) = self.0.split_once('\n')?;
        self.0 = rest;
        line.strip_prefix(word)
    }

    fn number(&mut self, word: &str) -> Option<u64> {
        self.line(word)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(comment: &str) -> Revision {
        Revision {
            number: 7,
            base: 6,
            time: Wall::from_millis(1_790_000_000_000),
            uid: 1000,
            pid: 4321,
            origin: Origin::Socket,
            comment: comment.to_owned(),
        }
    }

    #[test]
    fn what_is_written_reads_back_and_is_a_configuration() {
        for comment in ["", "two\nlines \"quoted\" \u{fc}"] {
            for text in ["", "hostname = \"a.example\"\n", "# no line end"] {
                let file = written(&revision(comment), text);
                assert_eq!(read(&file), Some((revision(comment), text)), "{file}");
                let machine = mail::Domain::parse("box.example").unwrap();
                assert!(crate::Config::parse(&file, &machine).is_ok(), "{file}");
            }
        }
        let longest = "\u{1}".repeat(super::super::COMMENT_BYTES_MAX);
        let mut most = revision(&longest);
        (most.number, most.base, most.uid, most.pid) = (u64::MAX, u64::MAX, u32::MAX, i32::MIN);
        most.time = Wall::from_millis(u64::MAX);
        most.origin = Origin::Remote("\u{1}".repeat(super::super::MAKER_BYTES_MAX).into());
        assert!(written(&most, "").len() <= HEAD_BYTES_MAX);
    }

    #[test]
    fn who_made_it_from_elsewhere_is_kept() {
        for maker in ["CN=ann,O=Example\\, Inc.", "CN=\u{fc}\"x", ""] {
            let mut revision = revision("why");
            revision.origin = Origin::Remote(maker.into());
            let file = written(&revision, "# text");
            assert_eq!(read(&file), Some((revision, "# text")), "{file}");
        }
    }

    #[test]
    fn a_file_that_was_cut_or_changed_is_no_revision() {
        let whole = written(&revision("why"), "hostname = \"a.example\"\n");
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None, "{end}");
        }
        assert_eq!(read(&whole.replace("origin socket", "origin rumour")), None);
        assert_eq!(read(&(whole.clone() + "x")), None);
        assert_eq!(read("hostname = \"a.example\"\n"), None);
    }

    #[test]
    fn pointers_read_back_or_not_at_all() {
        let pointers = Pointers { current: 9, file: 3 };
        let file = written_pointers(pointers);
        assert_eq!(read_pointers(&file), Some(pointers));
        for end in 0..file.len() {
            assert_eq!(read_pointers(&file[..end]), None, "{end}");
        }
        assert_eq!(read_pointers(&(file + "x")), None);
    }
}
