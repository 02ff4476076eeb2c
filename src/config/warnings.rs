//! What is allowed, and yet should be known by whoever runs it.

use std::sync::Arc;

use super::settings::Settings;
use crate::policy::{Anonymous, CallerSource, Mode, Route};

/// What an operator should know of these settings.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let guarded = || settings.policy.routes().filter(|route| route.mode != Mode::Off);
    let mut warnings = Vec::new();
    if settings.proxy_protocol && settings.trusted.is_empty() {
        let text = "whoever can connect can pose as any address by a PROXY header: name the load \
                    balancers in trusted_hops";
        warnings.push(text.to_owned());
    }
    let counts = |route: &Arc<Route>| route.caller.contains(&CallerSource::ClientCertificate);
    if settings.client_certificate.is_some() && !guarded().any(counts) {
        let text = "certificates of callers are verified, and yet tell no caller from another: no \
                    route has \"client-cert\" in its caller";
        warnings.push(text.to_owned());
    }
    warnings.extend(guarded().flat_map(|route| of_route(route, settings.store.has_secret_file)));
    warnings
}

fn of_route(route: &Route, has_secret_file: bool) -> Vec<String> {
    let name = &route.name;
    let mut warnings = Vec::new();
    if route.caller.is_empty() && route.anonymous == Anonymous::Share {
        warnings.push(format!(
            "route \"{name}\" tells no caller from another: whoever sends a key and a request \
             that were sent before gets the answer to them"
        ));
    }
    if route.caller.contains(&CallerSource::BasicUser) {
        warnings.push(format!(
            "route \"{name}\" believes the user name of Basic credentials, and does not look at \
             the password: that is for a hop before this one to check"
        ));
    }
    if let (Some(header), false) = (&route.forward_key, has_secret_file) {
        warnings.push(format!(
            "route \"{name}\" sends the API keys in `{header}` that another start would derive \
             otherwise: give it a store.secret_file"
        ));
    }
    warnings
}
