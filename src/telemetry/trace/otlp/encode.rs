//! A batch of spans as one request to a collector: `ExportTraceServiceRequest` of OTLP.

use super::protobuf::Message;
use crate::telemetry::trace::{Finished, Kind, SpanContext, Status, Value};

/// What the spans are written by.
const SCOPE: &str = "oncegate";

/// Bits of a span's flags that say whether it is known where its parent is, and that it is
/// elsewhere.
const IS_REMOTE_KNOWN: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The message that tells a collector of spans of the instance that has these attributes.
pub fn encode(resource: &[(String, String)], spans: &[Finished]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |of_resource| {
        of_resource.message(1, |message| {
            for (name, value) in resource {
                attribute(message, 1, name, |of| of.chosen_bytes(1, value.as_bytes()));
            }
        });
        of_resource.message(2, |of_scope| {
            of_scope.message(1, |scope| {
                scope.bytes(1, SCOPE);
                scope.bytes(2, env!("CARGO_PKG_VERSION"));
            });
            for finished in spans {
                of_scope.message(2, |message| span(message, finished));
            }
        });
    });
    request.into_bytes()
}

fn span(message: &mut Message, span: &Finished) {
    message.bytes(1, span.context.trace_id.as_bytes());
    message.bytes(2, span.context.span_id.as_bytes());
    message.bytes(3, span.state.as_deref().unwrap_or_default());
    if let Some(parent) = &span.parent {
        message.bytes(4, parent.as_bytes());
    }
    message.bytes(5, span.name.as_bytes());
    message.number(
        6,
        match span.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        },
    );
    message.fixed64(7, span.began);
    message.fixed64(8, span.ended);
    for (name, value) in &span.attributes {
        attribute(message, 9, name, |of| match value {
            Value::Text(text) => of.chosen_bytes(1, text.as_bytes()),
            Value::Number(number) => of.chosen_number(3, number.cast_unsigned()),
        });
    }
    for other in &span.links {
        message.message(13, |link| {
            link.bytes(1, other.trace_id.as_bytes());
            link.bytes(2, other.span_id.as_bytes());
            link.fixed32(6, u32::from(other.flags()));
        });
    }
    message.message(15, |status| {
        status.number(
            3,
            match span.status {
                Status::Unset => 0,
                Status::Error => 2,
            },
        );
    });
    message.fixed32(16, flags(span.context, span.parent.is_some() && span.kind == Kind::Server));
}

fn attribute(message: &mut Message, field: u32, name: &str, value: impl FnOnce(&mut Message)) {
    message.message(field, |attribute| {
        attribute.bytes(1, name);
        attribute.message(2, value);
    });
}

/// The flags of a span whose parent may be elsewhere.
fn flags(context: SpanContext, is_remote: bool) -> u32 {
    let parent = if is_remote { IS_REMOTE_KNOWN | IS_REMOTE } else { IS_REMOTE_KNOWN };
    u32::from(context.flags()) | parent
}
