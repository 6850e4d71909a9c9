//! A file is read in one sitting, a function on one screen.

use crate::report;
use crate::rust::{Source, is_word, sources, words};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn files_and_functions_are_short() {
    report(sources().iter().flat_map(breaches).collect());
}

fn breaches(source: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        breaches.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", source.path));
    }
    for (name, start, end) in functions(&source.code) {
        let lines = source.line(end) - source.line(start) + 1;
        if lines > FUNCTION_LINES_MAX {
            let (path, line) = (&source.path, source.line(start));
            breaches.push(format!(
                "{path}:{line}: fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX}"
            ));
        }
    }
    breaches
}

/// Name, start and end of every function with a body.
fn functions(code: &str) -> Vec<(&str, usize, usize)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for start in words(code, "fn") {
        let name_starts = start + 3;
        let name: usize = bytes.iter().skip(name_starts).take_while(|byte| is_word(**byte)).count();
        if name == 0 {
            continue;
        }
        // The body opens at the first brace outside brackets; a semicolon
        // before it means that there is none. `[u8; 4]` is inside brackets.
        let mut depth = 0i32;
        let body = bytes[name_starts..].iter().position(|byte| {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(byte, b'{' | b';')
        });
        let Some(body) = body.map(|at| name_starts + at).filter(|at| bytes[*at] == b'{') else {
            continue;
        };
        let mut depth = 0i32;
        let end = bytes[body..].iter().position(|byte| {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let end = end.map_or(code.len() - 1, |at| body + at);
        found.push((&code[name_starts..name_starts + name], start, end));
    }
    found
}

#[test]
fn functions_are_found_with_their_bodies() {
    let code = "trait T { fn a(x: [u8; 4]); fn b() -> [u8; 2] { { 1 } } }\nfn c() where X: Y {}\n";
    let found: Vec<(&str, &str)> =
        functions(code).into_iter().map(|(name, start, end)| (name, &code[start..=end])).collect();
    let expected = [("b", "fn b() -> [u8; 2] { { 1 } }"), ("c", "fn c() where X: Y {}")];
    assert_eq!(found, expected);
    assert_eq!(functions("let f: fn(u8) -> u8 = g;"), []);
}

#[test]
fn what_is_too_long_is_found() {
    let body = |lines: usize| format!("fn f() {{\n{}}}\n", "x;\n".repeat(lines - 2));
    assert_eq!(breaches(&Source::new("a.rs", &body(70))).len(), 0);
    assert_eq!(breaches(&Source::new("a.rs", &body(71))).len(), 1);
    assert_eq!(breaches(&Source::new("a.rs", &"x\n".repeat(500))).len(), 0);
    assert_eq!(breaches(&Source::new("a.rs", &"x\n".repeat(501))).len(), 1);
}
