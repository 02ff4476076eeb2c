//! Which hops before this one are believed when they say for whom they speak.

use http::HeaderMap;

use crate::policy::Hop;
use crate::server::Peer;
use crate::transport::Networks;

/// Whether what a peer says of the hops before it, and of whoever they found the caller to be, is
/// believed. Without a list everybody is, and who can open a Unix socket always is.
pub(super) fn judge(peer: &Peer, trusted: &Networks) -> Hop {
    let is_trusted = |ip| trusted.contains(ip);
    let is_believed =
        trusted.is_empty() || peer.address.is_none_or(|address| is_trusted(address.ip()));
    if is_believed { Hop::Believed } else { Hop::Doubted }
}

/// Removes what only a hop before this one may say: `Forwarded`, `X-Real-IP`, and all fields whose
/// names begin with `X-Forwarded-`, those that name a user or a certificate among them.
///
/// Some applications take an underscore for a hyphen, so these count as well.
pub(super) fn forget(headers: &mut HeaderMap) {
    let claims: Vec<_> = headers.keys().filter(|name| is_claim(name.as_str())).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Whether a name, which is in lower case, is that of such a field.
fn is_claim(name: &str) -> bool {
    let is = |spelling: &str, found: &str| {
        let same = |(one, other)| one == other || (one == b'-' && other == b'_');
        found.len() == spelling.len() && spelling.bytes().zip(found.bytes()).all(same)
    };
    let prefix = "x-forwarded-";
    is("forwarded", name)
        || is("x-real-ip", name)
        || name.get(..prefix.len()).is_some_and(|found| is(prefix, found))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::HeaderName;

    use super::*;

    #[test]
    fn peers_are_believed_by_their_address() {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let hop = |address: Option<&str>, trusted: &[&str]| {
            let address = address.map(|address| address.parse().unwrap());
            judge(&Peer::new(address), &networks(trusted))
        };
        let trusted = ["192.0.2.0/24", "2001:db8::1"];
        for (address, expected) in [
            ("192.0.2.7:1", Hop::Believed),
            ("[::ffff:192.0.2.7]:1", Hop::Believed),
            ("[2001:db8::1]:1", Hop::Believed),
            ("198.51.100.7:1", Hop::Doubted),
            ("127.0.0.1:1", Hop::Doubted),
            ("[2001:db8::2]:1", Hop::Doubted),
        ] {
            assert_eq!(hop(Some(address), &trusted), expected, "{address}");
            assert_eq!(hop(Some(address), &[]), Hop::Believed, "{address}");
        }
        assert_eq!(hop(None, &trusted), Hop::Believed);
    }

    #[test]
    fn what_hops_say_is_forgotten_and_nothing_else() {
        let claims = [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-user",
            "x-forwarded-client-cert",
            "x-forwarded-",
            "x-real-ip",
            "x_forwarded_for",
            "x-forwarded_user",
            "x_real_ip",
        ];
        let others =
            ["x-forwarded", "x-forwardedfor", "forwarded-for", "authorization", "via", "x"];
        let mut headers = HeaderMap::new();
        for name in claims.iter().chain(&others) {
            headers.append(*name, "1".parse().unwrap());
            headers.append(*name, "2".parse().unwrap());
        }
        forget(&mut headers);
        let left: BTreeSet<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, others.into());
    }
}
