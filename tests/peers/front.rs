//! The proxy with a config that says all of it: where it listens, and what it stands before.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::authority::{Authority, Files};
use crate::support::{Folder, Origin, Proxy};

/// A config that is put together.
pub struct Setup {
    folder: Folder,
    at_socket: bool,
    top: String,
    upstream: String,
    tables: String,
}

impl Setup {
    /// Before this origin.
    pub fn before(origin: &Origin) -> Self {
        Self::before_url(&format!("http://{}", origin.addr))
    }

    /// Before what is at this URL.
    pub fn before_url(url: &str) -> Self {
        let upstream = format!("url = {url:?}\n");
        let (top, tables) = (String::new(), String::new());
        Self { folder: Folder::new(), at_socket: false, top, upstream, tables }
    }

    /// Listens at a Unix socket, too.
    pub fn at_socket(self) -> Self {
        Self { at_socket: true, ..self }
    }

    /// Adds a line that is in no table.
    pub fn top(mut self, line: &str) -> Self {
        writeln!(self.top, "{line}").expect("writing to memory");
        self
    }

    /// Adds a line about the upstream.
    pub fn upstream(mut self, line: &str) -> Self {
        writeln!(self.upstream, "{line}").expect("writing to memory");
        self
    }

    /// Adds a table, with its header.
    pub fn table(mut self, text: &str) -> Self {
        writeln!(self.tables, "{text}").expect("writing to memory");
        self
    }

    /// Speaks TLS, and shows this certificate.
    pub fn showing(self, files: &Files) -> Self {
        let Files { certificate, key } = files;
        self.table(&format!("[tls]\ncert_file = {certificate:?}\nkey_file = {key:?}"))
    }

    /// Asks callers for certificates that this authority has signed; the last table was `[tls]`.
    pub fn asking(self, authority: &Authority, auth: &str) -> Self {
        let trusted = authority.certificate();
        self.table(&format!("client_ca_file = {trusted:?}\nclient_auth = {auth:?}"))
    }

    /// Trusts upstreams whose certificate this authority has signed.
    pub fn trusting(self, authority: &Authority) -> Self {
        self.table(&format!("[upstream.tls]\nca_file = {:?}", authority.certificate()))
    }

    pub async fn start(self) -> Front {
        let socket = text(&self.folder, "proxy.sock");
        let at_socket = if self.at_socket { format!(", \"unix:{socket}\"") } else { String::new() };
        let Self { folder, top, upstream, tables, .. } = self;
        let listen = format!("listen = [\"127.0.0.1:0\"{at_socket}]");
        let config = format!("{listen}\n{top}\n[upstream]\n{upstream}\n{tables}");
        let path = folder.write("oncegate.toml", config);
        let proxy = Proxy::told_by(path).arg("--workers", "2").start().await;
        Front { proxy, folder }
    }
}

/// A proxy that was told all by a config.
pub struct Front {
    pub proxy: Proxy,
    folder: Folder,
}

impl Front {
    /// Its TCP address.
    pub fn addr(&self) -> SocketAddr {
        self.proxy.addr()
    }

    /// The path of its Unix socket.
    pub fn socket(&self) -> String {
        text(&self.folder, "proxy.sock")
    }
}

fn text(folder: &Folder, name: &str) -> String {
    folder.path(name).into_os_string().into_string().expect("a path that is text")
}
