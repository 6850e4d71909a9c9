//! How a connection ends from our side: once its output is out, with a look
//! for the peer's end; or at once, by a reset.
//!
//! The spans here bound what the runtime does after the core has let go of a
//! connection; none of them is a deadline of the protocol.
//!
//! Invariant: whatever way a connection ends, the tasks that wait for its
//! socket are woken, so that none of them keeps it open.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use base::ConnId;
use futures_lite::future;
use glommio::io::PollableFd;
use glommio::timer::Timer;
use rustix::net::RecvFlags;
use socket2::Socket;

use crate::aftermath::Aftermath;
use crate::driver::{Driver, Handle};
use crate::listen::Slot;

/// How long output that was left when the core closed may take.
const CLOSE_MAX: Duration = Duration::from_secs(10);
/// How long the peer's end is awaited after ours. Closing with unread bytes
/// would reset the connection and may cost the peer our last words.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// Bytes read and dropped while waiting for the peer's end.
const LINGER_BYTES_MAX: usize = 1 << 20;

impl Driver {
    /// Closes once the output is out.
    pub(crate) fn close(&mut self, conn: ConnId) {
        let Some(connection) = self.usable(conn) else { return };
        connection.closing = true;
        let (writing, socket) = (connection.writing, connection.socket.clone());
        if writing {
            self.spawn(give_up(self.handle(), conn, socket));
        }
        self.mark_dirty(conn);
    }

    /// Closes at once.
    pub(crate) fn abort(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.remove(&conn) else { return };
        // Resets the connection, drops what the kernel still has to send, and
        // ends the waits of the connection's tasks.
        let _ = rustix::net::connect_unspec(connection.socket.get_ref());
    }

    pub(crate) fn broke(&mut self, conn: ConnId, error: &io::Error) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.writing = false;
        connection.output.clear();
        connection.broken = Some(error.to_string());
        if connection.closing {
            self.abort(conn);
            return;
        }
        // The peer's last words may still be unread: the reading task ends
        // the connection when it finds their end. Where no end can come of
        // itself, make one.
        if connection.paused || error.raw_os_error().is_none() {
            let error = connection.broken.take();
            self.abort(conn);
            self.told_later(Aftermath::Closed { conn, error });
        }
    }

    /// Our end of a closed connection, whose output is out.
    pub(crate) fn end(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.remove(&conn) else { return };
        let socket = connection.socket;
        let Input::Open(read) = drop_input(socket.get_ref(), &mut self.scratch) else {
            // The peer ended first: dropping the socket says the same.
            return;
        };
        if rustix::net::shutdown(socket.get_ref(), rustix::net::Shutdown::Write).is_ok() {
            self.spawn(linger(self.handle(), socket, read, connection.slot));
        }
    }
}

/// Gives up on the output of a closed connection.
pub(crate) async fn give_up(driver: Handle, conn: ConnId, socket: Rc<PollableFd<Socket>>) {
    Timer::new(CLOSE_MAX).await;
    let mut driver = driver.borrow_mut();
    if driver.owns(conn, &socket) {
        driver.abort(conn);
    }
}

/// Waits for the peer's end of a closed connection.
async fn linger(
    driver: Handle,
    socket: Rc<PollableFd<Socket>>,
    mut read: usize,
    _slot: Option<Slot>,
) {
    let over = async {
        loop {
            let _ = socket.readable().await;
            match drop_input(socket.get_ref(), &mut driver.borrow_mut().scratch) {
                Input::Open(more) if read + more <= LINGER_BYTES_MAX => read += more,
                _ => return,
            }
        }
    };
    let late = async {
        Timer::new(LINGER_MAX).await;
        // Whatever task still holds the socket, the connection is over.
        let _ = rustix::net::connect_unspec(socket.get_ref());
    };
    future::or(over, late).await;
}

/// What reading a closed connection's input away found.
enum Input {
    /// So many bytes, and perhaps more to come.
    Open(usize),
    Ended,
}

fn drop_input(socket: &Socket, scratch: &mut [u8]) -> Input {
    let mut dropped = 0;
    while dropped <= LINGER_BYTES_MAX {
        match rustix::net::recv(socket, &mut scratch[..], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Input::Ended,
            Ok((_, read)) => dropped += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Input::Open(dropped),
            Err(_) => return Input::Ended,
        }
    }
    Input::Ended
}
