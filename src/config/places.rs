//! Values that say where something is: addresses, networks, URLs and names.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use rustls::pki_types::ServerName as CertifiedName;
use serde_json::{Value, json};

use super::setting::{Setting, Wrong, in_quotes};
use crate::store::{RedisUrl, RedisUrlError};
use crate::transport::{Address, AddressError, Network};
use crate::upstream::Endpoint;

/// Where records are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreUrl {
    /// In the memory of this process.
    Memory,
    /// In a folder.
    Disk(PathBuf),
    /// On servers that several instances share.
    Redis(Box<RedisUrl>),
}

/// Where the admin listener is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdminAddress {
    /// Nowhere.
    Off,
    /// At an address.
    At(Address),
}

/// The name of a server, which its certificate is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerName(String);

impl Setting for Address {
    fn needed() -> String {
        "an address such as \"0.0.0.0:8080\" or \"unix:/run/oncegate.sock\"".into()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        text.parse().map_err(|error| match error {
            AddressError::Neither => Wrong::Kind,
            AddressError::Relative | AddressError::TooLong => Wrong::Because(error.to_string()),
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^unix:/|:[0-9]+$" })
    }

    fn write(&self) -> String {
        in_quotes(&self.to_string())
    }
}

impl Setting for AdminAddress {
    fn needed() -> String {
        "an address such as \"127.0.0.1:9464\" or \"unix:/run/oncegate-admin.sock\", or \"off\","
            .into()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        match text {
            "off" => Ok(Self::Off),
            _ => Address::from_text(text).map(Self::At),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^off$|^unix:/|:[0-9]+$" })
    }

    fn write(&self) -> String {
        match self {
            Self::Off => in_quotes("off"),
            Self::At(address) => address.write(),
        }
    }
}

impl Setting for Network {
    fn needed() -> String {
        "a network such as \"10.0.0.0/8\", or an address such as \"192.0.2.7\",".into()
    }

    /// A network that is written as one of its addresses may be meant to be that address alone.
    fn from_text(text: &str) -> Result<Self, Wrong> {
        let network: Self = text.parse().map_err(|()| Wrong::Kind)?;
        let host = text.split_once('/').map_or(text, |(host, _)| host);
        let mapped = host.parse::<Ipv6Addr>().ok().and_then(|address| address.to_ipv4_mapped());
        if let Some(address) = mapped {
            let text = format!("IPv4 addresses are written as such, as in \"{address}\"");
            return Err(Wrong::Because(text));
        }
        let shown = network.to_string();
        let first = shown.split_once('/').map_or(shown.as_str(), |(first, _)| first);
        match first.parse::<IpAddr>().ok() == host.parse().ok() {
            true => Ok(network),
            false => {
                let text = format!("\"{shown}\" is the network, \"{host}\" this address alone");
                Err(Wrong::Because(text))
            }
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9A-Fa-f.:]+(/[0-9]+)?$" })
    }

    fn write(&self) -> String {
        in_quotes(&self.to_string())
    }
}

impl Setting for Endpoint {
    fn needed() -> String {
        "a URL such as \"http://127.0.0.1:3000\"".into()
    }

    /// What it shows may not be the text, which may have a password in it.
    fn from_text(text: &str) -> Result<Self, Wrong> {
        Self::parse(text).map_err(|error| Wrong::Hidden(error.to_string()))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^(https?://|unix:/)" })
    }

    fn write(&self) -> String {
        in_quotes(&self.to_string())
    }
}

impl Setting for StoreUrl {
    fn needed() -> String {
        "\"memory:\", a folder such as \"file:///var/lib/oncegate\", or a server such as \
         \"redis://redis.example\","
            .into()
    }

    /// What it shows may not be the text, which may have a password in it.
    fn from_text(text: &str) -> Result<Self, Wrong> {
        let (scheme, rest) = text.split_once(':').ok_or(Wrong::Kind)?;
        match scheme {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "memory" => Err(Wrong::Because("nothing comes after memory:".into())),
            "file" => match rest.strip_prefix("//").filter(|path| path.starts_with('/')) {
                Some(path) if !path.contains(['%', '?', '#']) => Ok(Self::Disk(path.into())),
                Some(_) => Err(Wrong::Because("the path of a folder has no %, ? and #".into())),
                None => {
                    let text = "a folder has an absolute path, as in file:///var/lib/oncegate";
                    Err(Wrong::Because(text.into()))
                }
            },
            _ if scheme.starts_with("redis") || scheme.starts_with("valkey") => {
                let url = text.parse().map(Box::new).map(Self::Redis);
                url.map_err(|error: RedisUrlError| Wrong::Hidden(error.to_string()))
            }
            _ => Err(Wrong::Hidden(format!("{} is needed", Self::needed()))),
        }
    }

    fn schema() -> Value {
        let pattern = "^(memory:$|file:///|(redis|valkey)s?(\\+(sentinel|cluster|unix))?://)";
        json!({ "type": "string", "pattern": pattern })
    }

    fn write(&self) -> String {
        in_quotes(&self.to_string())
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Disk(path) => write!(f, "file://{}", path.display()),
            Self::Redis(url) => url.fmt(f),
        }
    }
}

impl ServerName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for ServerName {
    fn needed() -> String {
        "a name such as \"api.example\", or an address, without a port,".into()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let name = CertifiedName::try_from(text).map_err(|_| Wrong::Kind);
        name.map(|_| Self(text.to_owned()))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9A-Za-z._:-]+$" })
    }

    fn write(&self) -> String {
        in_quotes(&self.0)
    }
}
