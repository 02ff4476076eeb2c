//! Where to listen: at least at one address, at each once, and by TCP where TCP is spoken of.

use std::net::SocketAddr;

use crate::config::keys::TopKeys;
use crate::config::mistake::{Mistake, Mistakes, Place};
use crate::transport::Address;

/// Finds addresses that can't be listened at together, and headers that never come.
pub(super) fn check(keys: &TopKeys, mistakes: &mut Mistakes) {
    if let Some(listen) = keys.listen.as_ref().filter(|listen| listen.value.0.is_empty()) {
        let text = "at least one address is needed, such as \"0.0.0.0:8080\"";
        mistakes.add(Mistake::new(listen.place, "listen", text));
    }
    apart(keys, mistakes);
    if let (Some(header), Some(listen)) = (keys.proxy_protocol, only_unix(keys))
        && header.value
    {
        let text = format!(
            "only connections over TCP have a PROXY header, and every address of listen \
             ({listen}) is a Unix socket; leave it out"
        );
        mistakes.add(Mistake::new(header.place, "proxy_protocol", text));
    }
}

/// Where it was said to listen at Unix sockets only, if it was.
pub(super) fn only_unix(keys: &TopKeys) -> Option<Place> {
    let listen = keys.listen.as_ref().filter(|listen| !listen.value.0.is_empty())?;
    listen.each().all(|(address, _)| matches!(address, Address::Unix(_))).then_some(listen.place)
}

/// Finds addresses that take those of others.
fn apart(keys: &TopKeys, mistakes: &mut Mistakes) {
    let Some(listen) = &keys.listen else { return };
    let addresses: Vec<_> = listen.each().collect();
    for (index, (address, place)) in addresses.iter().enumerate() {
        let mut before = addresses[..index].iter();
        if let Some((other, first)) = before.find(|(other, _)| meet(other, address)) {
            let text = format!("\"{address}\" and \"{other}\" ({first}) meet; leave one out");
            mistakes.add(Mistake::new(*place, "listen", text));
        }
    }
}

/// Whether one of two addresses stands for all of a family, and so for the other one, too.
fn meet(one: &Address, other: &Address) -> bool {
    let (Address::Tcp(one), Address::Tcp(other)) = (one, other) else { return false };
    let is_any = |address: &SocketAddr| address.ip().is_unspecified();
    one.port() == other.port()
        && one.port() != 0
        && one.is_ipv4() == other.is_ipv4()
        && (is_any(one) || is_any(other))
}
