//! Trace contexts: from the text of W3C headers, and back.

use std::str::FromStr as _;

use opentelemetry::Context as OtelContext;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use rr_spi::Context;

/// Returns the parent of an operation: the current span, or else the trace context of the call.
///
/// The current span takes precedence only within the same trace, or if the call has none: a handler
/// that makes several calls concurrently gives each its own context.
pub(crate) fn parent(ctx: &Context) -> OtelContext {
    let current = OtelContext::current();
    let Some(stated) = read(ctx) else { return current };
    let is_same = {
        let span = current.span();
        span.span_context().is_valid() && span.span_context().trace_id() == stated.trace_id()
    };
    if is_same { current } else { current.with_remote_span_context(stated) }
}

fn read(ctx: &Context) -> Option<SpanContext> {
    let state = ctx.tracestate().and_then(|state| TraceState::from_str(state).ok());
    parse(ctx.traceparent()?, state.unwrap_or_default())
}

/// Parses a `traceparent` (W3C Trace Context §3.2.2). Of a later version, the known fields count.
fn parse(text: &str, state: TraceState) -> Option<SpanContext> {
    let mut fields = text.split('-');
    let mut hex = |length: usize| {
        let field = fields.next().filter(|field| field.len() == length)?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        field.bytes().all(is_hex).then_some(field)
    };
    let version = hex(2)?;
    let (trace, span) = (TraceId::from_hex(hex(32)?).ok()?, SpanId::from_hex(hex(16)?).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(hex(2)?, 16).ok()? & 1);
    let has_more = fields.next().is_some();
    let context = SpanContext::new(trace, span, flags, true, state);
    let is_known = version != "ff" && !(version == "00" && has_more);
    (is_known && context.is_valid()).then_some(context)
}

/// Returns `traceparent` and `tracestate` of a span; `None` if it is not valid.
pub(crate) fn write(context: &SpanContext) -> Option<(String, Option<String>)> {
    if !context.is_valid() {
        return None;
    }
    let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
    let parent = format!("00-{trace:032x}-{span:016x}-{:02x}", flags.to_u8() & 1);
    let state = context.trace_state().header();
    Some((parent, (!state.is_empty()).then_some(state)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written() {
        let ctx = Context::background().with_trace(PARENT, Some("a=1,b=2")).unwrap();
        let (parent, state) = write(&read(&ctx).unwrap()).unwrap();
        assert_eq!((parent.as_str(), state.as_deref()), (PARENT, Some("a=1,b=2")));
    }

    #[test]
    fn malformed_parents_are_ignored_and_later_versions_read() {
        let parse = |text: &str| parse(text, TraceState::default());
        for bad in [
            "",
            "00",
            &PARENT[..54],
            &PARENT.to_uppercase(),
            &format!("{PARENT}-00"),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &PARENT.replace("-01", "-+1"),
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
        assert!(parse(&format!("{}-more", PARENT.replacen("00", "01", 1))).is_some());
    }
}
