//! Routes among each other: each has a name of its own, and requests that come to it.

use crate::config::mistake::{Mistake, Mistakes, Place};
use crate::config::written::WrittenRoute;

/// The name of what holds where no route matches.
const DEFAULT: &str = "default";

/// Finds names that are missing or taken, and routes that no request can come to.
pub(super) fn check(routes: &[WrittenRoute], mistakes: &mut Mistakes) {
    for (index, route) in routes.iter().enumerate() {
        let before = &routes[..index];
        name(route, before, mistakes);
        if let Some(first) = before.iter().find(|first| covers(first, route)) {
            let text = format!(
                "no request comes to this route: {} takes all of its requests before; put this \
                 one first, or leave one out",
                shown(first)
            );
            mistakes.add(Mistake::new(begin(route), "route", text));
        }
    }
}

fn name(route: &WrittenRoute, before: &[WrittenRoute], mistakes: &mut Mistakes) {
    let Some(name) = &route.route.name else {
        if !route.route.unread.contains(&"name") {
            let text = "it is missing: each route needs one, such as name = \"payments\"";
            mistakes.add(Mistake::new(begin(route), "name", text));
        }
        return;
    };
    let value = name.value.as_str();
    if value == DEFAULT {
        let text = "\"default\" is the name of what holds where no route matches";
        mistakes.add(Mistake::new(name.place, "name", text));
    }
    let names = before.iter().filter_map(|route| route.route.name.as_ref());
    if let Some(first) = names.into_iter().find(|first| first.value == name.value) {
        let text = format!("\"{value}\" is the name of another route already ({})", first.place);
        mistakes.add(Mistake::new(name.place, "name", text));
    }
}

fn begin(route: &WrittenRoute) -> Place {
    route.route.place.unwrap_or(Place::WholeFile)
}

fn shown(route: &WrittenRoute) -> String {
    match &route.route.name {
        Some(name) => format!("\"{}\" ({})", name.value.as_str(), begin(route)),
        None => format!("the one at {}", begin(route)),
    }
}

/// Whether one route is for every request that another one is for.
fn covers(one: &WrittenRoute, other: &WrittenRoute) -> bool {
    let is_read = |route: &WrittenRoute| {
        route.route.unread.is_empty() && !route.guard.unread.contains(&"methods")
    };
    is_read(one) && is_read(other) && one.rule().covers(&other.rule())
}
