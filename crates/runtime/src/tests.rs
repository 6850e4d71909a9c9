//! One executor, or two, with a scripted core and real sockets.

mod accept_tls;
mod close;
mod echo;
mod mesh;
mod outbound;
mod query;
mod storage;
mod tls;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use socket2::Socket;

use crate::inbox::Mail;
use crate::listen::Slots;
use crate::script::{Fleet, PATIENCE};

/// A connected pair: the near end in the fleet's hands, the far end in ours.
fn client(fleet: &Fleet, shard: usize) -> TcpStream {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client_of(fleet, shard, &listener)
}

fn client_of(fleet: &Fleet, shard: usize, listener: &TcpListener) -> TcpStream {
    let local = listener.local_addr().unwrap();
    let far = TcpStream::connect(local).unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    far.set_write_timeout(Some(PATIENCE)).unwrap();
    let (near, peer) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    let slot = Slots::new(1).take().unwrap();
    fleet
        .post(shard, Mail::Accepted { socket: Socket::from(near), peer, local, listener: 0, slot });
    far
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}
