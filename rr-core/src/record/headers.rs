//! Form of headers in a recording.

use rr_spi::{Headers, wire};

/// Name and value in their form on the wire; the value is missing if the redaction hides it.
pub(super) type Header = (String, Option<String>);

/// Returns the headers whose values are recorded; `None` if they do not fit the limits or grammar of
/// headers.
pub(super) fn read_headers(lines: &[Header]) -> Option<Headers> {
    let mut headers = Headers::new();
    let mut receive = |name: &str, value: &str| {
        let value = match Headers::is_binary_name(name) {
            true => wire::decode_binary(value.as_bytes())?,
            false => value.to_owned().into(),
        };
        use rr_spi::Received::{Kept, Reserved};
        matches!(headers.receive(name, value), Kept | Reserved).then_some(())
    };
    for (name, value) in lines {
        if let Some(value) = value {
            receive(name, value)?;
        }
    }
    Some(headers)
}
