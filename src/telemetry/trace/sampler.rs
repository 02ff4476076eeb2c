//! Which traces are recorded.

use super::context::SpanContext;
use super::ids::TraceId;

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Which of those that begin here.
    pub roots: Roots,
    /// Whether those that have begun elsewhere are recorded where they are there.
    pub follows_parent: bool,
}

/// Which traces that begin here are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Roots {
    /// All.
    All,
    /// None.
    None,
    /// This part of them: from 0 to 1. Others who record the same part record the same ones.
    Part(f64),
}

impl Default for Sampler {
    /// All, but for those that are not recorded elsewhere.
    fn default() -> Self {
        Self { roots: Roots::All, follows_parent: true }
    }
}

impl Sampler {
    /// Whether a trace is recorded, which has this parent or begins here.
    pub(super) fn takes(&self, trace_id: &TraceId, parent: Option<&SpanContext>) -> bool {
        match parent {
            Some(parent) if self.follows_parent => parent.is_sampled(),
            Some(_) | None => self.roots.hold(trace_id),
        }
    }
}

impl Roots {
    fn hold(self, trace_id: &TraceId) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Part(part) => {
                // The end of an id is what all who sample by a part look at.
                let end = trace_id.as_bytes().last_chunk().copied().map_or(0, u64::from_be_bytes);
                #[expect(clippy::cast_precision_loss, reason = "a part is no more precise")]
                let place = (end >> 1) as f64 / (1_u64 << 63) as f64;
                place < part
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::trace::SpanId;

    fn ids() -> Vec<TraceId> {
        (0..10_000).map(|_| TraceId::random().unwrap()).collect()
    }

    #[test]
    fn a_part_is_that_part_and_everywhere_the_same() {
        for (part, expected) in [(0.0, 0..=0), (0.25, 2200..=2800), (1.0, 10_000..=10_000)] {
            let taken = ids().iter().filter(|id| Roots::Part(part).hold(id)).count();
            assert!(expected.contains(&taken), "{taken} of 10000 for {part}");
        }
        for id in ids() {
            assert!(!Roots::Part(0.25).hold(&id) || Roots::Part(0.5).hold(&id));
        }
    }

    #[test]
    fn a_parent_decides_where_it_is_followed() {
        for (follows_parent, is_sampled, roots, expected) in [
            (true, true, Roots::None, true),
            (true, false, Roots::All, false),
            (false, true, Roots::None, false),
            (false, false, Roots::All, true),
        ] {
            let sampler = Sampler { roots, follows_parent };
            let (trace_id, span_id) = (TraceId::random().unwrap(), SpanId::random().unwrap());
            let parent = SpanContext::new(trace_id, span_id, is_sampled);
            assert_eq!(sampler.takes(&trace_id, Some(&parent)), expected);
            assert_eq!(sampler.takes(&trace_id, None), roots == Roots::All);
        }
    }
}
