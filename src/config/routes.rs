//! From the tables `[defaults]` and `[[route]]` to a policy.

use std::sync::Arc;
use std::time::Duration;

use super::choice::InFlight;
use super::keys::GuardKeys;
use super::mistake::Located;
use super::section::Section as _;
use super::setting::List;
use super::settings::UpstreamSettings;
use super::written::{Written, WrittenRoute};
use crate::idempotency::{OnStoreError, Secret, Terms};
use crate::policy::{
    Authorities, Class, Classes, Compared, HeaderRule, Ignored, Policy, Route, Rule, TokenVerifier,
};

/// What every route has, whatever is said of it.
pub(super) struct Shared<'a> {
    pub(super) secret: &'a Secret,
    pub(super) verifier: Option<Arc<TokenVerifier>>,
    pub(super) upstream: &'a UpstreamSettings,
    /// What holds for routes that say nothing of it.
    pub(super) on_store_error: OnStoreError,
}

/// The policy that was written.
pub(super) fn policy(written: &Written, shared: &Shared<'_>) -> Policy {
    let defaults = &written.defaults;
    let fallback = route(&GuardKeys::default(), defaults, Rule::default(), shared);
    let routes = written.routes.iter().map(|own| {
        let name = own.route.name.as_ref().map(|name| name.value.as_str()).unwrap_or_default();
        Route { name: Arc::from(name), ..route(&own.guard, defaults, own.rule(), shared) }
    });
    Policy::new(routes.collect(), fallback)
}

impl WrittenRoute {
    /// Which requests the route is for.
    pub(super) fn rule(&self) -> Rule {
        Rule {
            path: self.route.path.as_ref().map(|path| path.value.clone()),
            host: self.route.host.as_ref().map(|host| host.value.clone()),
            methods: self.guard.methods.as_ref().map(values),
        }
    }
}

/// A route: what it says itself, and otherwise what the defaults say.
fn route(own: &GuardKeys, defaults: &GuardKeys, rule: Rule, shared: &Shared<'_>) -> Route {
    let keys = own.clone().over(defaults.clone());
    Route {
        rule,
        methods: values(&keys.methods()),
        mode: keys.mode().value,
        key: values(&keys.key()),
        requires_key: keys.require_key().value,
        caller: values(&keys.caller()),
        anonymous: keys.anonymous().value,
        compared: Compared {
            authority: match keys.authority().value {
                true => Authorities::Apart,
                false => Authorities::Together,
            },
            ignored_json: Ignored::new(&values(&keys.ignore_json())),
            headers: header_rule(own).or_else(|| header_rule(defaults)).unwrap_or_default(),
        },
        classes: classes([defaults, own]),
        oversize: keys.oversize.as_ref().map(|oversize| oversize.value),
        forward_key: keys.forward_key.as_ref().map(|header| header.value.clone()),
        request_bytes_max: keys.max_request().value.as_usize(),
        response_bytes_max: keys.max_response().value.as_usize(),
        verifier: shared.verifier.clone(),
        ..Route::new(shared.secret.clone(), terms(&keys, shared))
    }
}

fn terms(keys: &GuardKeys, shared: &Shared<'_>) -> Terms {
    let Shared { upstream, on_store_error, .. } = shared;
    Terms {
        window: keys.window().value,
        wait: match keys.in_flight().value {
            InFlight::Wait => keys.wait().value,
            InFlight::Refuse => Duration::ZERO,
        },
        timeout: upstream.timeout,
        linger: upstream.linger,
        on_unknown: keys.on_unknown().value,
        on_mismatch: keys.on_mismatch().value,
        on_store_error: keys.on_store_error.as_ref().map_or(*on_store_error, |own| own.value),
    }
}

/// The headers that a checksum covers, if these keys say so.
fn header_rule(keys: &GuardKeys) -> Option<HeaderRule> {
    let only = keys.only_headers.as_ref().map(|list| HeaderRule::Only(values(list)));
    only.or_else(|| keys.ignore_headers.as_ref().map(|list| HeaderRule::AllBut(values(list))))
}

/// What every status does to its key: later layers go before earlier ones.
fn classes(layers: [&GuardKeys; 2]) -> Classes {
    let mut classes = Classes::default();
    for keys in layers {
        classes = classes.under();
        let lists =
            [(&keys.keep, Class::Keep), (&keys.release, Class::Release), (&keys.hold, Class::Hold)];
        for (list, class) in lists {
            for rule in list.iter().flat_map(|list| &list.value) {
                classes.set(rule.value, class);
            }
        }
    }
    classes
}

fn values<T: Clone>(list: &Located<List<T>>) -> Vec<T> {
    list.value.iter().map(|one| one.value.clone()).collect()
}
