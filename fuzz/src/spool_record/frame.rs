//! Records framed as the format says, with anything in them: written from the
//! page on the format, not with the product's code.

use crate::input::Input;

/// Where the first record stands.
const FIRST: usize = 4_096;

/// Fills a segment whose superblock is in place.
pub(super) fn fill(segment: &mut [u8], number: u32, input: &mut Input<'_>) {
    let how = input.byte();
    if how & 3 == 3 {
        let raw = input.bytes();
        let at = if how & 4 != 0 { 0 } else { FIRST };
        segment[at..at + raw.len()].copy_from_slice(raw);
        return;
    }
    let mut end = FIRST;
    let mut copies = Vec::new();
    let mut starts = Vec::new();
    for sequence in 0..24u32 {
        if input.is_empty() {
            break;
        }
        let bits = input.byte();
        if bits & 0x70 == 0x70 {
            break;
        }
        let (record, head_bytes) = record(number, sequence, end, &starts, bits, input);
        if end + record.len() + 1_024 > segment.len() {
            break;
        }
        segment[end..end + record.len()].copy_from_slice(&record);
        let mut copy = (end as u32).to_le_bytes().to_vec();
        copy.extend_from_slice(&[0; 4]);
        copy.extend_from_slice(&record[..40 + head_bytes]);
        copy.resize(copy.len().next_multiple_of(8), 0);
        copies.extend_from_slice(&copy);
        starts.push(end as u32);
        end += record.len();
    }
    if how & 8 != 0 {
        seal(segment, number, end, &copies, input);
    }
}

/// The index and the footer of a sealed segment.
fn seal(segment: &mut [u8], number: u32, end: usize, copies: &[u8], input: &mut Input<'_>) {
    let index = framed(number, 1_000, 5, copies, &[], end as u32, 0);
    let index_end = end + index.len();
    if index_end + 24 > segment.len() {
        return;
    }
    segment[end..index_end].copy_from_slice(&index);
    let mut footer = b"RPSEALED".to_vec();
    let bits = input.byte();
    let shift = |bit: u8| if bits >> bit & 1 == 1 { 8 * u32::from(bits >> 4) } else { 0 };
    for field in [number, end as u32 + shift(0), index_end as u32 - shift(1)] {
        footer.extend_from_slice(&field.to_le_bytes());
    }
    footer.extend_from_slice(&crc32c(&footer, 0).to_le_bytes());
    let at = segment.len() - 24;
    segment[at..].copy_from_slice(&footer);
}

/// A record, and the octets of its head.
fn record(
    number: u32,
    sequence: u32,
    offset: usize,
    starts: &[u32],
    bits: u8,
    input: &mut Input<'_>,
) -> (Vec<u8>, usize) {
    let kind = input.pick(&[1u8, 4, 3, 2, 6, 5, 1, 4]);
    let start = |input: &mut Input<'_>| {
        let place = input.byte();
        starts.get(usize::from(place) % starts.len().max(1)).copied().unwrap_or(offset as u32)
    };
    let mut head = Vec::new();
    match kind {
        1 => envelope(&mut head, input),
        3 | 4 => block(&mut head, kind, number, start(input), input),
        2 | 6 => {
            let mut states = Vec::new();
            block(&mut states, 4, number, start(input), input);
            let claimed = states.len() as u32 + u32::from(input.byte() == 255);
            head.extend_from_slice(&claimed.to_le_bytes());
            let from = if kind == 6 { 0 } else { u32::from(input.byte()) };
            head.extend_from_slice(&from.to_le_bytes());
            head.extend_from_slice(&states);
            envelope(&mut head, input);
        }
        _ => head.extend_from_slice(input.bytes()),
    }
    if bits & 1 == 1 {
        // Anything at all in the place of a head.
        let raw = input.bytes();
        let at = usize::from(input.byte()) % (head.len() + 1);
        let count = raw.len().min(head.len() - at);
        head[at..at + count].copy_from_slice(&raw[..count]);
    }
    let body: &[u8] = if matches!(kind, 1 | 2 | 6) { input.bytes() } else { &[] };
    let sequence = if bits & 2 != 0 { sequence + u32::from(input.byte()) } else { sequence };
    let durable = if bits & 4 != 0 { offset as u32 + 64 } else { offset as u32 };
    let mut record = framed(number, sequence, kind, &head, body, durable, bits & 8);
    if bits & 0x80 != 0 {
        let at = input.number() as usize % record.len();
        record[at] ^= 1 << input.below(8);
    }
    (record, head.len())
}

/// A whole frame; with `fault` the body's checksum is wrong.
fn framed(
    number: u32,
    sequence: u32,
    kind: u8,
    head: &[u8],
    body: &[u8],
    durable: u32,
    fault: u8,
) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend_from_slice(&number.to_le_bytes());
    frame.extend_from_slice(&sequence.to_le_bytes());
    frame.extend_from_slice(&[kind, 0, 0, 0]);
    frame.extend_from_slice(&((head.len() + body.len()) as u32).to_le_bytes());
    frame.extend_from_slice(&(head.len() as u32).to_le_bytes());
    let crc = if body.is_empty() { 0 } else { crc32c(body, 0) };
    frame.extend_from_slice(&(crc ^ u32::from(fault)).to_le_bytes());
    frame.extend_from_slice(&durable.to_le_bytes());
    frame.extend_from_slice(&(1u64 << 40).to_le_bytes());
    let crc = crc32c(head, crc32c(&frame[4..], 0));
    frame[..4].copy_from_slice(&crc.to_le_bytes());
    frame.extend_from_slice(head);
    frame.extend_from_slice(body);
    frame.resize(frame.len().next_multiple_of(8), 0);
    frame
}

fn envelope(head: &mut Vec<u8>, input: &mut Input<'_>) {
    let recipients = input.pick(&[1u16, 2, 3, 0, 1, 1, 200, u16::MAX]);
    let sender: &[u8] = if input.flag() { input.bytes() } else { b"a@b.example" };
    let flags = u16::from(input.byte());
    let envid: &[u8] = if flags & 32 != 0 { input.bytes() } else { &[] };
    head.extend_from_slice(&flags.to_le_bytes());
    head.extend_from_slice(&recipients.to_le_bytes());
    head.extend_from_slice(&(sender.len() as u16).to_le_bytes());
    head.extend_from_slice(&(envid.len() as u16).to_le_bytes());
    let helo = b"c.example";
    head.extend_from_slice(&[helo.len() as u8, input.pick(&[0, 4, 6, 5]), 0, 0, 0, 0, 0, 0]);
    head.extend_from_slice(&[1; 16]);
    for text in [sender, envid, helo] {
        head.extend_from_slice(text);
    }
    for _ in 0..recipients.min(3) {
        let address: &[u8] = if input.flag() { input.bytes() } else { b"c@d.example" };
        let orcpt: &[u8] = if input.flag() { input.bytes() } else { &[] };
        head.extend_from_slice(&(address.len() as u16).to_le_bytes());
        head.extend_from_slice(&(orcpt.len() as u16).to_le_bytes());
        head.extend_from_slice(&[input.byte(), u8::from(!orcpt.is_empty())]);
        head.extend_from_slice(address);
        head.extend_from_slice(orcpt);
    }
}

/// A block of attempts (kind 3) or states about the message at `start`.
fn block(head: &mut Vec<u8>, kind: u8, number: u32, start: u32, input: &mut Input<'_>) {
    let segment = if input.below(4) == 3 { 1 + input.below(3) as u32 } else { number };
    head.extend_from_slice(&start.to_le_bytes());
    head.extend_from_slice(&segment.to_le_bytes());
    head.extend_from_slice(&number.to_le_bytes());
    let entries = input.below(4) as u16;
    let claimed = entries + u16::from(input.byte() == 255);
    head.extend_from_slice(&claimed.to_le_bytes());
    head.extend_from_slice(&[0, 0]);
    for _ in 0..entries {
        let recipient = input.pick(&[0u16, 1, 2, u16::MAX]);
        head.extend_from_slice(&recipient.to_le_bytes());
        let attempts = input.pick(&[1u16, 0, 2, u16::MAX]);
        head.extend_from_slice(&attempts.to_le_bytes());
        if kind == 3 {
            continue;
        }
        let text: &[u8] = if input.flag() { input.bytes() } else { &[] };
        let host: &[u8] = if input.flag() { b"mx.example" } else { &[] };
        head.extend_from_slice(&[input.byte(), input.byte(), host.len() as u8, 0]);
        let revision = input.pick(&[1u32, 0, 2, 3, u32::MAX, u32::MAX - 1]);
        head.extend_from_slice(&revision.to_le_bytes());
        let status = input.pick(&[5_001_001u32, 0, 4_004_007, u32::MAX]);
        head.extend_from_slice(&status.to_le_bytes());
        let next = input.pick(&[0u64, 1 << 40, u64::MAX]);
        head.extend_from_slice(&next.to_le_bytes());
        head.extend_from_slice(&(text.len() as u16).to_le_bytes());
        head.extend_from_slice(&[0, 0]);
        head.extend_from_slice(text);
        head.extend_from_slice(host);
    }
}

/// CRC-32C (Castagnoli) of `bytes` behind those whose sum is `before`.
fn crc32c(bytes: &[u8], before: u32) -> u32 {
    let mut crc = !before;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}
