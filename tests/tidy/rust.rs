//! Reading Rust just well enough: which files there are, and their text with
//! comments and literals blanked out, so that words and braces found in it are
//! code.
//!
//! Never parses: a check that needs more than this does not belong here.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders whose `.rs` files are held to the rules.
const FOLDERS: [&str; 5] = ["crates", "tests", "benches", "fuzz", "appliance"];

/// One source file.
pub struct Source {
    /// Path from the workspace, with `/`.
    pub path: String,
    /// As it stands.
    pub text: String,
    /// The same, with every character of comments and literals blank; line
    /// ends stay.
    pub code: String,
}

impl Source {
    /// A file that exists only in a test.
    #[cfg(test)]
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// The line, from 1, of the byte at `offset`.
    pub fn line(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }

    /// Whether the file holds nothing but tests.
    pub fn is_test(&self) -> bool {
        let parts: Vec<&str> = self.path.split('/').collect();
        parts.contains(&"tests") || self.path.ends_with("tests.rs")
    }
}

/// All source files of the workspace, in order of their paths.
pub fn sources() -> Vec<Source> {
    let root = tests::workspace();
    let mut paths = Vec::new();
    for folder in FOLDERS {
        walk(&root.join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).ok()?;
        let name = path.strip_prefix(&root).ok()?.to_str()?.to_owned();
        Some(Source { path: name, code: blank(&text), text })
    };
    paths.into_iter().map(|path| read(path).expect("a source file is readable UTF-8")).collect()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if path.is_dir() && !hidden && path.file_name().is_some_and(|name| name != "target") {
            walk(&path, paths);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            paths.push(path);
        }
    }
}

/// Blanks comments, strings and character literals.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(text, at);
        if end > at {
            for byte in &mut out[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
            at = end;
        } else {
            at += 1;
            // The letters of a word are no prefix of a literal.
            while is_word(bytes[at - 1]) && at < bytes.len() && is_word(bytes[at]) {
                at += 1;
            }
        }
    }
    String::from_utf8(out).expect("only whole characters were replaced")
}

/// The end of the comment or literal that starts at `at`; `at` if none does.
fn literal_end(text: &str, at: usize) -> usize {
    let rest = &text.as_bytes()[at..];
    if rest.starts_with(b"//") {
        return text[at..].find('\n').map_or(text.len(), |end| at + end);
    }
    if rest.starts_with(b"/*") {
        return block_end(text.as_bytes(), at);
    }
    let prefix = rest.iter().take_while(|byte| b"bcr".contains(byte)).count().min(2);
    let raw = rest[..prefix].contains(&b'r');
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    if raw && rest.get(prefix + hashes) == Some(&b'"') {
        let close = format!("\"{}", "#".repeat(hashes));
        let from = at + prefix + hashes + 1;
        return text[from..].find(&close).map_or(text.len(), |end| from + end + close.len());
    }
    if rest.get(prefix) == Some(&b'"') && !raw {
        return quoted_end(text.as_bytes(), at + prefix + 1, b'"');
    }
    if rest.get(prefix) == Some(&b'\'') && prefix <= 1 && is_character(&text[at + prefix + 1..]) {
        return quoted_end(text.as_bytes(), at + prefix + 1, b'\'');
    }
    at
}

fn block_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn quoted_end(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Whether what follows a quote is a character, and not a lifetime's name.
fn is_character(rest: &str) -> bool {
    let mut characters = rest.chars();
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

/// Whether `byte` may stand in a name.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Places in `code` where the whole word `word` stands.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let bytes = code.as_bytes();
        let before = at.checked_sub(1).map(|before| bytes[before]);
        let after = bytes.get(at + word.len()).copied();
        ![before, after].into_iter().flatten().any(is_word)
    })
}

#[test]
fn comments_and_literals_are_blanked_and_nothing_else() {
    let cases = [
        ("let a = \"x{\"; b", "let a =     ; b"),
        ("f(r#\"a\"b\"#, c)", "f(        , c)"),
        ("f(br\"\\\", b'\\'', '{', 'a, x)", "f(     ,      ,    , 'a, x)"),
        ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
        ("a /* b /* c */ d */ e", "a                   e"),
        ("a // b\nc", "a     \nc"),
        ("for \"x\" in bar\"y\"", "for     in bar   "),
        ("let x = 'é'; y", "let x =     ; y"),
    ];
    for (text, blanked) in cases {
        assert_eq!(blank(text), blanked, "{text}");
    }
}

#[test]
fn words_are_whole() {
    let found: Vec<usize> = words("unsafe unsafe_code an_unsafe (unsafe)", "unsafe").collect();
    assert_eq!(found, [0, 30]);
}
