//! An API whose host takes no connections for now, so that whoever connects waits.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::Reserved;

/// A listener whose queue is full.
pub struct Hung {
    place: Reserved,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Hung {
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        let place = Reserved::new();
        let addr = place.addr;
        socket.bind(&addr.into()).unwrap();
        socket.listen(0).unwrap();
        let listener: TcpListener = socket.into();
        let patience = Duration::from_millis(200);
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&addr, patience) {
            queued.push(stream);
            assert!(queued.len() < 100, "the queue of a listener is short");
        }
        Self { place, _listener: listener, _queued: queued }
    }

    pub fn addr(&self) -> SocketAddr {
        self.place.addr
    }

    /// Whoever waits is refused; the port is still reserved.
    pub fn end(self) -> Reserved {
        self.place
    }
}
