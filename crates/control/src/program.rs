//! Programs of this machine that the configuration names: what is run, and
//! what its end means. Run without a shell, so that nothing in a word is ever
//! taken for more than a word.
//!
//! Never here: running one.

use std::fmt;
use std::time::Duration;

use base::secret::Secret;

use crate::units::Span;

/// A program and its arguments, each as it is; the first is an absolute path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    words: Box<[Box<str>]>,
}

/// How a program ended, or why it did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Exited {
        /// Its exit status; 0: all went well.
        code: i32,
        /// What it wrote, as far as that was kept.
        output: Secret,
    },
    /// By a signal that we did not send.
    Signalled(i32),
    /// Not within its time: it was killed, and all that it had started.
    Overdue,
    /// It could not be started; why.
    NotStarted(String),
}

/// Most words of a program's call.
pub const WORDS_MAX: usize = 64;
/// Longest word, in octets.
pub const WORD_BYTES_MAX: usize = 4_096;
/// Longest of its own words that are shown, in characters.
pub const SAID_CHARS_MAX: usize = 200;

impl Program {
    /// A program by its words. `None` for none or more than [`WORDS_MAX`], one
    /// longer than [`WORD_BYTES_MAX`], a NUL, or a first one that is no
    /// absolute path.
    pub fn new(words: Vec<Box<str>>) -> Option<Self> {
        let sound = |word: &str| word.len() <= WORD_BYTES_MAX && !word.contains('\0');
        let fits = (1..=WORDS_MAX).contains(&words.len()) && words.iter().all(|word| sound(word));
        let path = words.first()?;
        (fits && path.starts_with('/')).then(|| Self { words: words.into() })
    }

    /// The program and its arguments; never empty.
    pub fn words(&self) -> &[Box<str>] {
        &self.words
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.words[0]
    }
}

/// The path alone: arguments may be long.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

impl Ending {
    /// What the program wrote, if it ended well.
    ///
    /// # Errors
    /// In words for operators what went wrong with it. `said`: whether what it
    /// wrote may be shown; the first line of that is part of them then.
    pub fn done(self, time: Duration, said: bool) -> Result<Secret, String> {
        match self {
            Self::Exited { code: 0, output } => Ok(output),
            Self::Exited { code, output } => {
                let line = if said { first_line(output.expose()) } else { String::new() };
                let colon = if line.is_empty() { "" } else { ": " };
                Err(format!("exit status {code}{colon}{line}"))
            }
            Self::Signalled(signal) => Err(format!("ended by signal {signal}")),
            Self::Overdue => Err(format!("not done within {}", Span(time))),
            Self::NotStarted(reason) => Err(format!("cannot be started: {reason}")),
        }
    }
}

/// The first line that is not blank, safe to show.
pub fn first_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    line.chars().take(SAID_CHARS_MAX).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32, output: &[u8]) -> Ending {
        Ending::Exited { code, output: Secret::new(output) }
    }

    const TIME: Duration = Duration::from_secs(90);

    #[test]
    fn words_have_bounds_and_the_first_is_a_path() {
        let program = |words: &[&str]| Program::new(words.iter().map(|w| (*w).into()).collect());
        assert_eq!(program(&["/bin/up", "a b", ""]).unwrap().to_string(), "/bin/up");
        assert_eq!(program(&[]), None);
        assert_eq!(program(&["up"]), None);
        assert_eq!(program(&["/bin/up", "a\0"]), None);
        let long = "x".repeat(WORD_BYTES_MAX);
        assert!(program(&["/", &long]).is_some());
        assert_eq!(program(&["/", &format!("{long}x")]), None);
        assert!(program(&["/"; WORDS_MAX]).is_some());
        assert_eq!(program(&["/"; WORDS_MAX + 1]), None);
    }

    #[test]
    fn each_end_has_its_words() {
        assert_eq!(exited(0, b"up").done(TIME, true).unwrap().expose(), b"up");
        for (ending, words) in [
            (exited(3, b"\n NO CARRIER\nagain\n"), "exit status 3: NO CARRIER"),
            (exited(3, b""), "exit status 3"),
            (Ending::Signalled(9), "ended by signal 9"),
            (Ending::Overdue, "not done within 1m30s"),
            (Ending::NotStarted("no such file".into()), "cannot be started: no such file"),
        ] {
            assert_eq!(ending.done(TIME, true), Err(words.to_owned()));
        }
        assert_eq!(exited(1, b"secret").done(TIME, false), Err("exit status 1".to_owned()));
    }

    #[test]
    fn what_a_program_says_is_short_and_safe_to_show() {
        assert_eq!(first_line(b"\xff\x1b[2J\x07 x\r\n"), "\u{fffd}\u{fffd}[2J\u{fffd} x");
        assert_eq!(first_line("ä".repeat(500).as_bytes()).chars().count(), SAID_CHARS_MAX);
        assert_eq!(first_line(b""), "");
    }
}
