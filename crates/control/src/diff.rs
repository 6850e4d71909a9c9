//! What changed between two texts, line by line, in the unified form that
//! every operator has read before.
//!
//! The shortest list of changes (Myers, "An O(ND) Difference Algorithm and Its
//! Variations"), as long as at most [`EDITS_MAX`] lines differ; beyond that
//! everything between the first and the last difference counts as replaced, so
//! that time and memory stay bounded for any two texts.
//!
//! Invariant: the lines without those marked `-` are the new text, those
//! without the ones marked `+` the old one.

use std::fmt::Write;

/// Changed lines for which the shortest list of changes is looked for.
pub const EDITS_MAX: usize = 1_000;
/// Lines of a diff that are written out; a last one counts the rest.
pub const LINES_SHOWN_MAX: usize = 20_000;
/// Unchanged lines around each change.
const CONTEXT_LINES: usize = 3;

/// One step from the old text to the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Keep,
    Drop,
    Insert,
}

/// The changes from `old` to `new`, under a head that names them `from` and
/// `to`; empty when they are the same.
pub fn unified(old: &str, new: &str, from: &str, to: &str) -> String {
    if old == new {
        return String::new();
    }
    let (old, new) = (lines(old), lines(new));
    let steps = steps(&old, &new);
    let mut shown = Shown { text: format!("--- {from}\n+++ {to}\n"), lines: 0, left_out: 0 };
    for (first, last) in hunks(&steps) {
        shown.hunk(&old, &new, &steps, first, last);
    }
    if shown.left_out > 0 {
        let _ = writeln!(shown.text, "\\ and {} more lines", shown.left_out);
    }
    shown.text
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Every line of both texts, in order, with what becomes of it.
fn steps(old: &[&str], new: &[&str]) -> Vec<Step> {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[same..], &new[same..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    let mut steps = vec![Step::Keep; same];
    match shortest(old, new) {
        Some(middle) => steps.extend(middle),
        None => {
            steps.extend(old.iter().map(|_| Step::Drop));
            steps.extend(new.iter().map(|_| Step::Insert));
        }
    }
    steps.extend(std::iter::repeat_n(Step::Keep, tail));
    steps
}

/// The shortest list of steps; `None` with more than [`EDITS_MAX`] changes.
///
/// Diagonal `k` holds the places where `k` more lines of the old text than of
/// the new one are used up; `reach` has, for each diagonal, how much of the old
/// text `d` changes can use up at most.
fn shortest(old: &[&str], new: &[&str]) -> Option<Vec<Step>> {
    let most = (old.len() + new.len()).min(EDITS_MAX);
    let middle = most + 1;
    let mut reach = vec![0usize; 2 * middle + 1];
    let mut trace: Vec<Vec<usize>> = Vec::new();
    for d in 0..=most {
        trace.push(reach[middle - d..=middle + d].to_vec());
        for at in (middle - d..=middle + d).step_by(2) {
            let mut x = from(&reach, at, middle, d);
            while let (Some(a), Some(b)) = (old.get(x), new.get((x + middle).wrapping_sub(at))) {
                if a != b {
                    break;
                }
                x += 1;
            }
            reach[at] = x;
            if x >= old.len() && x + middle >= new.len() + at {
                return Some(walk_back(&trace, old.len(), new.len()));
            }
        }
    }
    None
}

/// Where the `d`th change leads to on the diagonal at `at`: down from the one
/// above it, or right from the one below it, whichever has used up more.
fn from(reach: &[usize], at: usize, middle: usize, d: usize) -> usize {
    if d == 0 {
        return 0;
    }
    let down = at == middle - d || (at != middle + d && reach[at - 1] < reach[at + 1]);
    if down { reach[at + 1] } else { reach[at - 1] + 1 }
}

/// The steps that led to the ends of both texts, from the last one back.
fn walk_back(trace: &[Vec<usize>], old: usize, new: usize) -> Vec<Step> {
    let (mut x, mut y) = (old, new);
    let mut steps = Vec::with_capacity(old.max(new));
    for (d, reach) in trace.iter().enumerate().skip(1).rev() {
        // `reach` begins at diagonal -d, and was saved before the dth change.
        let at = (x + d) - y;
        let down = at == 0 || (at != 2 * d && reach[at - 1] < reach[at + 1]);
        let before_x = if down { reach[at + 1] } else { reach[at - 1] };
        let start = if down { before_x } else { before_x + 1 };
        steps.extend(std::iter::repeat_n(Step::Keep, x - start));
        y -= x - start;
        x = before_x;
        if down {
            steps.push(Step::Insert);
            y -= 1;
        } else {
            steps.push(Step::Drop);
        }
    }
    assert_eq!(x, y, "without a change both texts are used up alike");
    steps.extend(std::iter::repeat_n(Step::Keep, x));
    steps.reverse();
    steps
}

/// First and last step of each group of changes with what stands around it.
fn hunks(steps: &[Step]) -> Vec<(usize, usize)> {
    let mut hunks: Vec<(usize, usize)> = Vec::new();
    for (place, _) in steps.iter().enumerate().filter(|(_, step)| **step != Step::Keep) {
        let first = place.saturating_sub(CONTEXT_LINES);
        let last = (place + CONTEXT_LINES).min(steps.len() - 1);
        match hunks.last_mut() {
            Some((_, end)) if first <= *end + 1 => *end = last,
            _ => hunks.push((first, last)),
        }
    }
    hunks
}

/// The diff as far as it is written.
struct Shown {
    text: String,
    lines: usize,
    left_out: usize,
}

impl Shown {
    fn hunk(&mut self, old: &[&str], new: &[&str], steps: &[Step], first: usize, last: usize) {
        let before = &steps[..first];
        let mut x = before.iter().filter(|step| **step != Step::Insert).count();
        let mut y = before.iter().filter(|step| **step != Step::Drop).count();
        let here = &steps[first..=last];
        let olds = here.iter().filter(|step| **step != Step::Insert).count();
        let news = here.iter().filter(|step| **step != Step::Drop).count();
        // The line before an empty range is named, as diff does.
        let (from, to) = (x + usize::from(olds > 0), y + usize::from(news > 0));
        self.line("", &format!("@@ -{from},{olds} +{to},{news} @@\n"));
        for step in here {
            match step {
                Step::Keep => self.line(" ", old[x]),
                Step::Drop => self.line("-", old[x]),
                Step::Insert => self.line("+", new[y]),
            }
            x += usize::from(*step != Step::Insert);
            y += usize::from(*step != Step::Drop);
        }
    }

    fn line(&mut self, mark: &str, line: &str) {
        if self.lines >= LINES_SHOWN_MAX {
            self.left_out += 1;
            return;
        }
        self.lines += 1;
        self.text.push_str(mark);
        self.text.push_str(line);
        if !line.ends_with('\n') {
            self.text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(old: &str, new: &str) -> String {
        unified(old, new, "a", "b")
    }

    #[test]
    fn a_change_stands_among_its_neighbours() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\n";
        assert_eq!(
            diff(old, new),
            "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
        );
        assert_eq!(diff(old, old), "");
    }

    #[test]
    fn what_comes_or_goes_is_told_with_its_line() {
        assert_eq!(diff("", "x\n"), "--- a\n+++ b\n@@ -0,0 +1,1 @@\n+x\n");
        assert_eq!(diff("x\n", ""), "--- a\n+++ b\n@@ -1,1 +0,0 @@\n-x\n");
        assert_eq!(
            diff("x", "x\n"),
            "--- a\n+++ b\n@@ -1,1 +1,1 @@\n-x\n\\ No newline at end of file\n+x\n"
        );
    }

    #[test]
    fn changes_far_apart_make_two_hunks_and_near_ones_a_single_one() {
        let text = |changed: &[usize]| -> String {
            let line =
                |n: usize| if changed.contains(&n) { "x\n".into() } else { format!("{n}\n") };
            (0..40).map(line).collect()
        };
        assert_eq!(diff(&text(&[]), &text(&[5, 30])).matches("@@ -").count(), 2);
        assert_eq!(diff(&text(&[]), &text(&[5, 12])).matches("@@ -").count(), 1);
        assert_eq!(diff(&text(&[]), &text(&[5, 13])).matches("@@ -").count(), 2);
    }

    /// At the bound the changes are still told one by one; beyond it the whole
    /// stretch is.
    #[test]
    fn two_texts_with_nothing_in_common_cost_no_more_than_a_bound() {
        let text = |odd: &str, count: usize| -> String {
            (0..count).map(|n| format!("{n}{}\n", if n % 2 == 1 { odd } else { "" })).collect()
        };
        let at_bound = diff(&text("", EDITS_MAX), &text("x", EDITS_MAX));
        assert!(at_bound.contains("\n 500\n"), "an unchanged line stands as one");
        let beyond = diff(&text("", EDITS_MAX + 2), &text("x", EDITS_MAX + 2));
        assert!(beyond.contains("\n-500\n") && beyond.contains("\n+500\n"));
    }

    #[test]
    fn a_long_diff_is_cut_and_says_so() {
        let text: String = (0..LINES_SHOWN_MAX).map(|n| format!("{n}\n")).collect();
        let shown = diff("", &text);
        assert!(shown.ends_with("\\ and 1 more lines\n"), "the head of the hunk is a line too");
        assert_eq!(shown.lines().count(), 2 + LINES_SHOWN_MAX + 1);
        let shorter: String = text.lines().skip(1).map(|line| format!("{line}\n")).collect();
        assert!(!diff("", &shorter).contains("more lines"));
    }
}
