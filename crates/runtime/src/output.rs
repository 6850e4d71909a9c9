//! What a connection still has to send: owned bytes, pieces of segments, and
//! the point where TLS begins. Written with direct non-blocking calls at the
//! end of a turn, straight from where the bytes lie; one call carries up to
//! 64 pieces.
//!
//! Never waits, never copies a body, never reorders. Unbounded by itself: the
//! core stops producing until it hears `Event::Drained`.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use base::SegmentId;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use segment::Pin;
use socket2::Socket;
use spool::Medium;

use crate::tls::TlsSession;

/// Bytes one connection may send in one turn before others get theirs.
pub(crate) const TURN_BYTES_MAX: usize = 256 << 10;
/// Pieces handed to the kernel in one call.
const PIECES_MAX: usize = 64;
/// Owned bytes are appended to the piece before them up to this size, so that
/// many small commands do not become many pieces.
const MERGE_BYTES_MAX: usize = 4_096;

/// The output queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are already out.
    begun: usize,
    /// Bytes of all pieces, those of `begun` among them.
    queued: u64,
    /// What comes next is encrypted.
    secure: bool,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Body { segment: SegmentId, offset: u32, len: u32, _pin: Option<Pin> },
    Handshake,
}

/// How far an attempt to send came.
#[derive(Debug)]
pub(crate) enum Sent {
    /// Everything is with the kernel, or waits for the TLS handshake.
    All,
    /// The rest must wait: for room in the socket, or for the next turn.
    Waits,
    /// The connection, or the segment, is broken.
    Broken(io::Error),
}

impl Output {
    /// Appends bytes.
    pub(crate) fn push_bytes(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.queued += bytes.len() as u64;
        if let Some(Piece::Bytes(last)) = self.pieces.back_mut()
            && last.len() + bytes.len() <= MERGE_BYTES_MAX
        {
            last.extend_from_slice(&bytes);
            return;
        }
        self.pieces.push_back(Piece::Bytes(bytes));
    }

    /// Appends a piece of a segment, which `pin` keeps readable.
    pub(crate) fn push_body(&mut self, place: (SegmentId, u32, u32), pin: Option<Pin>) {
        let (segment, offset, len) = place;
        if len > 0 {
            self.queued += u64::from(len);
            self.pieces.push_back(Piece::Body { segment, offset, len, _pin: pin });
        }
    }

    /// Everything pushed after this is encrypted.
    pub(crate) fn begin_tls(&mut self) {
        self.pieces.push_back(Piece::Handshake);
    }

    /// Bytes that are not yet with the kernel; what a TLS session holds does
    /// not count.
    pub(crate) fn left(&self) -> u64 {
        self.queued - self.begun as u64
    }

    /// Drops what is left.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.begun = 0;
        self.queued = 0;
    }

    /// Sends what the socket takes, at most [`TURN_BYTES_MAX`].
    pub(crate) fn send(
        &mut self,
        socket: &Socket,
        mut tls: Option<&mut TlsSession>,
        medium: &dyn Medium,
    ) -> Sent {
        let mut budget = TURN_BYTES_MAX;
        loop {
            let step = match tls.as_deref_mut() {
                Some(tls) if self.secure => self.send_secure(socket, tls, medium, budget),
                _ => self.send_plain(socket, medium, budget),
            };
            match step {
                Ok(Step::Moved(bytes)) => budget -= bytes,
                Ok(Step::Ended(sent)) => return sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sent::Waits,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Sent::Broken(error),
            }
            if budget == 0 {
                return Sent::Waits;
            }
        }
    }

    /// Sends what a TLS session still holds, once output is encrypted.
    ///
    /// # Errors
    /// What the socket gives.
    pub(crate) fn send_notice(&self, socket: &Socket, tls: &mut TlsSession) -> io::Result<()> {
        if self.secure { tls.write_to(&mut SocketWriter(socket)) } else { Ok(()) }
    }

    fn send_plain(
        &mut self,
        socket: &Socket,
        medium: &dyn Medium,
        budget: usize,
    ) -> io::Result<Step> {
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        let (mut count, mut total) = (0, 0);
        for piece in self.pieces.iter().take(PIECES_MAX) {
            let begun = if count == 0 { self.begun } else { 0 };
            let Some(bytes) = piece.bytes(begun, medium)? else { break };
            let bytes = &bytes[..bytes.len().min(budget - total)];
            slices[count] = IoSlice::new(bytes);
            count += 1;
            total += bytes.len();
            if total == budget {
                break;
            }
        }
        if count == 0 {
            // Nothing left, or nothing left in the clear.
            if self.pieces.pop_front().is_none() {
                return Ok(Step::Ended(Sent::All));
            }
            self.secure = true;
            return Ok(Step::Moved(0));
        }
        let sent = send_slices(socket, &slices[..count])?;
        self.advance(sent);
        // A socket that took less than it was offered is full.
        Ok(if sent < total { Step::Ended(Sent::Waits) } else { Step::Moved(sent) })
    }

    fn send_secure(
        &mut self,
        socket: &Socket,
        tls: &mut TlsSession,
        medium: &dyn Medium,
        budget: usize,
    ) -> io::Result<Step> {
        tls.write_to(&mut SocketWriter(socket))?;
        let Some(piece) = self.pieces.front() else { return Ok(Step::Ended(Sent::All)) };
        let Some(bytes) = piece.bytes(self.begun, medium)? else {
            return Err(io::Error::other("TLS begins inside TLS"));
        };
        let taken = tls.encrypt(&bytes[..bytes.len().min(budget)]);
        if taken == 0 && tls.is_established() {
            return Err(io::Error::other("the TLS session has ended"));
        }
        if taken == 0 {
            return Ok(Step::Ended(Sent::All));
        }
        self.advance(taken);
        // What was just encrypted must reach the socket in this turn, too.
        if taken == budget {
            tls.write_to(&mut SocketWriter(socket))?;
        }
        Ok(Step::Moved(taken))
    }

    fn advance(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let piece = self.pieces.front().expect("no more is sent than was queued");
            let left = piece.len() - self.begun;
            if bytes < left {
                self.begun += bytes;
                return;
            }
            bytes -= left;
            self.begun = 0;
            self.queued -= piece.len() as u64;
            self.pieces.pop_front();
        }
    }
}

enum Step {
    Moved(usize),
    Ended(Sent),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Body { len, .. } => *len as usize,
            Piece::Handshake => 0,
        }
    }

    /// The piece from its byte `begun` on; none for the start of TLS.
    fn bytes<'a>(&'a self, begun: usize, medium: &'a dyn Medium) -> io::Result<Option<&'a [u8]>> {
        match self {
            Piece::Bytes(bytes) => Ok(Some(&bytes[begun..])),
            Piece::Body { segment, offset, len, .. } => medium
                .read(*segment, *offset + begun as u32, *len - begun as u32)
                .map(Some)
                .ok_or_else(|| io::Error::other(format!("segment {segment} cannot be read"))),
            Piece::Handshake => Ok(None),
        }
    }
}

fn send_slices(socket: &Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let sent = match slices {
        [one] => rustix::net::send(socket, one, flags)?,
        many => rustix::net::sendmsg(socket, many, &mut SendAncillaryBuffer::default(), flags)?,
    };
    Ok(sent)
}

/// The socket as rustls wants it.
struct SocketWriter<'a>(&'a Socket);

impl Write for SocketWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        send_slices(self.0, &[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        send_slices(self.0, &slices[..slices.len().min(PIECES_MAX)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use spool::AppendError;

    use super::*;

    /// One segment whose byte at each offset is the offset's low byte.
    struct Bodies(Vec<u8>);

    impl Bodies {
        fn new(len: usize) -> Self {
            Self((0..len).map(|n| n as u8).collect())
        }
    }

    impl Medium for Bodies {
        fn read(&self, segment: SegmentId, offset: u32, len: u32) -> Option<&[u8]> {
            let range = offset as usize..offset as usize + len as usize;
            (segment == SegmentId(1)).then(|| self.0.get(range)).flatten()
        }
        fn append(&mut self, _: SegmentId, _: u32, _: &[&[u8]]) -> Result<(), AppendError> {
            unreachable!("output appends nothing")
        }
        fn size(&self, _: SegmentId) -> Option<u32> {
            None
        }
        fn start_sync(&mut self, _: SegmentId) {}
        fn request_segment(&mut self) {}
        fn retire(&mut self, _: SegmentId) {}
    }

    fn pair() -> (Socket, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Socket::from(std::os::fd::OwnedFd::from(near)), far)
    }

    #[test]
    fn pieces_arrive_in_order_and_small_ones_share_a_piece() {
        let (near, mut far) = pair();
        let medium = Bodies::new(100);
        let mut output = Output::default();
        output.push_bytes(b"MAIL FROM:<>\r\n".to_vec());
        output.push_bytes(b"DATA\r\n".to_vec());
        assert_eq!(output.pieces.len(), 1);
        output.push_body((SegmentId(1), 10, 3), None);
        output.push_bytes(Vec::new());
        output.push_body((SegmentId(1), 0, 0), None);
        output.push_bytes(b".\r\n".to_vec());
        assert_eq!(output.pieces.len(), 3);
        assert!(matches!(output.send(&near, None, &medium), Sent::All));
        assert!(output.left() == 0);
        drop(near);
        let mut got = Vec::new();
        far.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"MAIL FROM:<>\r\nDATA\r\n\x0a\x0b\x0c.\r\n");
    }

    #[test]
    fn a_turn_ends_at_its_bound_and_a_full_socket_waits() {
        let (near, mut far) = pair();
        near.set_send_buffer_size(2 * TURN_BYTES_MAX).unwrap();
        let medium = Bodies::new(3 * TURN_BYTES_MAX);
        let mut output = Output::default();
        output.push_body((SegmentId(1), 0, 3 * TURN_BYTES_MAX as u32), None);
        let mut got = Vec::new();
        let mut turns = 0;
        while output.left() > 0 {
            let before = got.len();
            let sent = output.send(&near, None, &medium);
            assert!(matches!(sent, Sent::Waits) || output.left() == 0, "{sent:?}");
            far.set_nonblocking(true).unwrap();
            let _ = far.read_to_end(&mut got);
            assert!(got.len() - before <= TURN_BYTES_MAX);
            turns += 1;
        }
        assert!(turns >= 3, "{turns}");
        assert_eq!(got, medium.0);
    }

    /// Covers: B15
    #[test]
    fn an_unreadable_segment_breaks_the_connection_not_the_program() {
        let (near, _far) = pair();
        let mut output = Output::default();
        output.push_body((SegmentId(2), 0, 5), None);
        let Sent::Broken(error) = output.send(&near, None, &Bodies::new(9)) else {
            panic!("a segment that is not there was sent");
        };
        assert!(error.to_string().contains("segment 2"), "{error}");
    }

    #[test]
    fn a_gone_peer_is_an_error_and_no_signal() {
        let (near, far) = pair();
        drop(far);
        let mut output = Output::default();
        output.push_bytes(b"QUIT\r\n".to_vec());
        assert!(matches!(output.send(&near, None, &Bodies::new(0)), Sent::Broken(_)));
        output.clear();
        assert!(output.left() == 0);
    }

    #[test]
    fn more_pieces_than_one_call_takes_are_sent_in_several() {
        let (near, mut far) = pair();
        let medium = Bodies::new(256);
        let mut output = Output::default();
        for n in 0..3 * PIECES_MAX as u32 {
            output.push_body((SegmentId(1), n, 1), None);
        }
        assert!(matches!(output.send(&near, None, &medium), Sent::All));
        drop(near);
        let mut got = Vec::new();
        far.read_to_end(&mut got).unwrap();
        assert_eq!(got, medium.0[..3 * PIECES_MAX]);
    }
}
