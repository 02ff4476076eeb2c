//! Where records are kept.

use crate::server::Server;
use crate::support::{Folder, Starting};

/// Where records are kept.
pub(crate) enum Kept {
    Memory,
    Disk(Folder),
    Redis(Server, Folder),
}

impl Kept {
    pub(crate) fn disk() -> Self {
        Self::Disk(Folder::new())
    }

    pub(crate) fn redis() -> Self {
        let folder = Folder::new();
        folder.write("secret", "the secret of this test and of no other one");
        Self::Redis(Server::start(&[]), folder)
    }

    /// Has an instance keep its records there.
    pub(crate) fn told(&self, starting: Starting) -> Starting {
        match self {
            Self::Memory => starting,
            Self::Disk(folder) => {
                starting.arg("--store", &format!("file://{}", folder.path("records").display()))
            }
            Self::Redis(server, folder) => starting
                .arg("--store", &format!("redis+unix://{}", server.socket().display()))
                .arg("--store-secret-file", folder.path("secret").to_str().expect("a path"))
                // A slow machine is no trouble with the store.
                .arg("--store-timeout", "2s")
                .arg("--store-lease", "8s"),
        }
    }
}
