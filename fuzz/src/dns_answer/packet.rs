//! Answers of name servers, made of a query and the fuzzer's bytes: header and
//! question fit, whatever follows is as the bytes have it.
//!
//! Read first: RFC 1035 §4.1.

use crate::input::Input;

/// Where the question of a query ends.
pub(crate) fn question_end(query: &[u8]) -> usize {
    let mut at = 12;
    while query[at] != 0 {
        at += 1 + usize::from(query[at]);
    }
    at + 5
}

/// An answer to `query`.
pub(crate) fn answer(query: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let mut answer = query[..question_end(query)].to_vec();
    let flags = input.byte();
    answer[2] = 0x81 | if flags & 0x10 != 0 { 0x02 } else { 0 };
    answer[3] = 0x80 | flags & 0x0f;
    let mut counts = [0u8; 3];
    for _ in 0..24 {
        let section = usize::from(input.byte());
        match section % 5 {
            place @ 0..=2 => {
                counts[place] = counts[place].saturating_add(1);
                record(&mut answer, input);
            }
            3 => {
                answer.extend_from_slice(input.bytes());
                break;
            }
            _ => break,
        }
    }
    if flags & 0x20 != 0 {
        // Counts that promise more than there is, or less.
        counts = [input.byte(), input.byte(), input.byte()];
    }
    for (place, count) in counts.into_iter().enumerate() {
        answer[6 + 2 * place] = 0;
        answer[7 + 2 * place] = count;
    }
    if flags & 0x40 != 0 {
        let cut = 12 + usize::from(input.byte()) * 2;
        answer.truncate(cut.max(question_end(query)));
    }
    answer
}

/// What a server in good order says to `query`: one record of the kind asked
/// for, with `number` in it.
pub(crate) fn plain_answer(query: &[u8], number: u8) -> Vec<u8> {
    let end = question_end(query);
    let mut answer = query[..end].to_vec();
    (answer[2], answer[3]) = (0x81, 0x80);
    answer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
    answer.extend_from_slice(&[0xc0, 12]);
    answer.extend_from_slice(&query[end - 4..end]);
    answer.extend_from_slice(&[0, 0, 1, 44]);
    match query[end - 3] {
        1 => answer.extend_from_slice(&[0, 4, 203, 0, 113, number]),
        28 => {
            answer.extend_from_slice(&[0, 16, 0x20, 1, 0xd, 0xb8]);
            answer.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number]);
        }
        // An exchanger whose name stands in front of the name asked for.
        _ => answer.extend_from_slice(&[0, 8, 0, number, 3, b'm', b'x', b'1', 0xc0, 12]),
    }
    answer
}

fn record(out: &mut Vec<u8>, input: &mut Input<'_>) {
    name(out, input);
    let kind = input.pick(&[1u16, 28, 15, 5, 6, 16, 2, 41, 255, 99]);
    out.extend_from_slice(&kind.to_be_bytes());
    let class = if input.below(16) == 15 { 3u16 } else { 1 };
    out.extend_from_slice(&class.to_be_bytes());
    let ttl = input.pick(&[300u32, 0, 1, 86_400, 1 << 31, u32::MAX, 604_800, 60]);
    out.extend_from_slice(&ttl.to_be_bytes());
    let length_at = out.len();
    out.extend_from_slice(&[0, 0]);
    match kind {
        1 => out.extend_from_slice(&[203, 0, 113, input.byte()]),
        28 => out.extend_from_slice(&[
            0x20,
            1,
            0xd,
            0xb8,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            input.byte(),
        ]),
        15 => {
            out.extend_from_slice(&[0, input.byte()]);
            name(out, input);
        }
        2 | 5 => name(out, input),
        6 => {
            name(out, input);
            name(out, input);
            out.extend_from_slice(&[0; 16]);
            out.extend_from_slice(&input.pick(&[300u32, 0, u32::MAX, 100_000]).to_be_bytes());
        }
        16 => {
            let text = input.bytes();
            out.push(text.len() as u8);
            out.extend_from_slice(text);
        }
        _ => out.extend_from_slice(input.bytes()),
    }
    let length = (out.len() - length_at - 2) as u16;
    let length = if input.below(32) == 31 { length ^ 1 } else { length };
    out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
}

/// The name asked for, another one, or a pointer to anywhere.
fn name(out: &mut Vec<u8>, input: &mut Input<'_>) {
    let mut labels = |labels: &[&str]| {
        for label in labels {
            out.push(label.len() as u8);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
    };
    match input.byte() % 12 {
        0..=3 => out.extend_from_slice(&[0xc0, 12]),
        4 => labels(&["d", "example"]),
        5 => labels(&["mx1", "d", "example"]),
        6 => labels(&["mx2", "d", "example"]),
        7 => labels(&["alias", "example"]),
        8 => labels(&["OUT", "Example"]),
        9 => labels(&[]),
        10 => out.extend_from_slice(&[0xc0, input.byte()]),
        _ => {
            let label = input.bytes();
            let label = &label[..label.len().min(63)];
            out.push(label.len() as u8);
            out.extend_from_slice(label);
            out.extend_from_slice(&[0xc0, 12]);
        }
    }
}
