//! What comes in: HTTP/2 frame by frame, TLS, Unix sockets, and what load balancers say.

mod announced;
mod asked;
mod certs;
mod ends;
mod floods;
mod frame;
mod headers;
mod hpack;
mod mutual;
mod plain;
mod raw;
mod resets;
mod rotate;
mod shapes;
mod tls;
mod trailers;
mod unix;
mod websocket;
mod windows;

use crate::support::{Proxy, client, memory};

const MIB: usize = 1 << 20;

/// Another caller is served meanwhile.
async fn assert_others_served(proxy: &Proxy) {
    let reply = client(proxy).get("/probe").send().await;
    assert_eq!(reply.status, 201, "{reply:?}");
}

/// The most memory that the proxy has had so far.
struct Peak(usize);

impl Peak {
    fn of(proxy: &Proxy) -> Self {
        Self(memory(proxy, "VmHWM"))
    }

    /// Fails if it has grown by so much since.
    #[track_caller]
    fn assert_below(&self, proxy: &Proxy, bytes: usize) {
        let grown = memory(proxy, "VmHWM").saturating_sub(self.0);
        assert!(grown < bytes, "{} MiB more", grown / MIB);
    }
}
