//! Content codings of replies (RFC 9110 §12.5.3): what a requester asks for, and what a server
//! chooses. Pure functions.

use http::{HeaderMap, HeaderValue, header};

use crate::compression::Codec;
use crate::config::HttpEncoding;

/// Adds `accept-encoding` to a request, unless the requester asks for no coding.
pub(crate) fn ask_for(encoding: HttpEncoding, request: &mut HeaderMap) {
    let value = match encoding {
        HttpEncoding::None => return,
        HttpEncoding::Gzip => "gzip",
        #[cfg(feature = "zstd")]
        HttpEncoding::Zstd => "zstd, gzip;q=0.5",
    };
    request.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
}

/// Returns whether a requester has asked for a codec.
pub(super) fn is_asked_for(codec: Codec, encoding: HttpEncoding) -> bool {
    match (codec, encoding) {
        (_, HttpEncoding::None) => false,
        (Codec::Gzip, _) => true,
        #[cfg(feature = "zstd")]
        (Codec::Zstd, encoding) => encoding == HttpEncoding::Zstd,
    }
}

/// Weight of a coding in thousandths, as RFC 9110 §12.4.2 counts it.
type Weight = u16;

const WEIGHT_MAX: Weight = 1000;

/// Chooses the codec of a reply to a request with these headers. Returns `None` if the reply is to
/// be sent as it is.
///
/// The codec with the highest weight wins, and zstd among equals. Identity wins only with a higher
/// weight than each codec. Without `accept-encoding` the caller has not asked. A member with a
/// malformed weight is ignored. A caller that excludes identity gets it nevertheless if the reply is
/// not compressed, as §12.5.3 allows.
pub(crate) fn negotiate(request: &HeaderMap) -> Option<Codec> {
    let mut asked = Asked::default();
    for line in request.get_all(header::ACCEPT_ENCODING) {
        line.as_bytes().split(|&byte| byte == b',').for_each(|member| asked.add(member));
    }
    let mut best = None;
    for (at, &codec) in Codec::ALL.iter().enumerate() {
        let weight = asked.codecs[at].or(asked.others).unwrap_or(0);
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((codec, weight));
        }
    }
    let (codec, weight) = best?;
    (weight >= asked.identity.unwrap_or(0)).then_some(codec)
}

/// Weights of the codings of a request.
#[derive(Default)]
struct Asked {
    codecs: [Option<Weight>; Codec::ALL.len()],
    identity: Option<Weight>,
    /// The weight of `*`: of every coding that is not listed.
    others: Option<Weight>,
}

impl Asked {
    fn add(&mut self, member: &[u8]) {
        let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let token = parts.next().unwrap_or_default();
        let weight = match (parts.next(), parts.next()) {
            (None, _) => Some(WEIGHT_MAX),
            (Some(weight), None) => read_weight(weight),
            _ => None,
        };
        let Some(weight) = weight else { return };
        let place = match Codec::of_token(token) {
            Some(codec) => Codec::ALL.iter().position(|known| *known == codec),
            None if token.eq_ignore_ascii_case(b"identity") => {
                self.identity = Some(weight);
                return;
            }
            None if token == b"*" => {
                self.others = Some(weight);
                return;
            }
            None => return,
        };
        if let Some(at) = place {
            // `gzip` and `x-gzip` may both be listed.
            self.codecs[at] = self.codecs[at].max(Some(weight));
        }
    }
}

/// Reads `q=0.5`: at most three decimals, from 0 to 1.
fn read_weight(text: &[u8]) -> Option<Weight> {
    let [b'q' | b'Q', b'=', whole @ (b'0' | b'1'), decimals @ ..] = text else { return None };
    let decimals = match decimals {
        [] => decimals,
        [b'.', decimals @ ..] if decimals.len() <= 3 => decimals,
        _ => return None,
    };
    let mut weight = Weight::from(whole - b'0') * WEIGHT_MAX;
    for (digit, unit) in decimals.iter().zip([100, 10, 1]) {
        weight += Weight::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?) * unit;
    }
    (weight <= WEIGHT_MAX).then_some(weight)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn negotiated(lines: &[&str]) -> Option<Codec> {
        let mut map = HeaderMap::new();
        for line in lines {
            map.append(header::ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        negotiate(&map)
    }

    #[test]
    fn a_caller_gets_what_it_asks_for_and_nothing_else() {
        for asked in [
            "gzip",
            "GZip",
            "x-gzip",
            "deflate, gzip;q=0.001",
            "br , gzip ; q=1.000",
            "identity, gzip",
            "identity;q=0.5, gzip;q=0.5",
            "gzip;q=0, x-gzip",
            "*;q=0, gzip;q=0.1",
            "br;q=x, gzip",
        ] {
            assert_eq!(negotiated(&[asked]), Some(Codec::Gzip), "{asked}");
        }
        assert_eq!(negotiated(&["br", "gzip"]), Some(Codec::Gzip));
        assert_eq!(negotiated(&["*"]), Some(Codec::ALL[0]));
        for none in [
            "",
            ",;,",
            "identity",
            "br",
            "gzip;q=0",
            "gzip;q=0.000",
            "*;q=0",
            "gzip;q=0.5, identity",
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=0.1234",
            "gzip;q=-1",
            "gzip;q=",
            "gzip;level=9",
            "gzip;q=1;q=1",
            "gzipp",
        ] {
            assert_eq!(negotiated(&[none]), None, "{none}");
        }
        assert_eq!(negotiated(&[]), None);
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn zstd_wins_among_equals() {
        assert_eq!(negotiated(&["gzip, zstd"]), Some(Codec::Zstd));
        assert_eq!(negotiated(&["gzip, zstd;q=0.9"]), Some(Codec::Gzip));
        assert_eq!(negotiated(&["zstd;q=0, *"]), Some(Codec::Gzip));
    }

    fn weight() -> impl Strategy<Value = (String, u16)> {
        (0u16..=1000, 0usize..4).prop_map(|(weight, form)| match form {
            0 => (String::new(), 1000),
            1 if weight == 1000 => (";q=1.0".to_owned(), 1000),
            _ if weight == 1000 => (" ; Q=1".to_owned(), 1000),
            1 => (format!("; q=0.{weight:03}"), weight),
            2 => (format!(";q=0.{}", weight / 100), weight / 100 * 100),
            _ => (";q=0".to_owned(), 0),
        })
    }

    proptest! {
        #[test]
        fn the_choice_has_the_highest_weight_whatever_the_order(
            weights in prop::collection::vec(weight(), 4),
            listed in prop::collection::vec(any::<bool>(), 4),
            order in Just([0usize, 1, 2, 3]).prop_shuffle(),
            split in any::<bool>(),
        ) {
            let names = ["gzip", "zstd", "identity", "*"];
            let members = order.iter().filter(|&&at| listed[at]);
            let members: Vec<String> =
                members.map(|&at| format!("{}{}", names[at], weights[at].0)).collect();
            let lines = if split { members } else { vec![members.join(",")] };
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let chosen = negotiated(&lines);
            let of = |at: usize| listed[at].then(|| weights[at].1);
            let weight = |codec: Codec| {
                let at = names.iter().position(|name| *name == codec.token()).unwrap();
                of(at).or_else(|| of(3)).unwrap_or(0)
            };
            let best = Codec::ALL.iter().map(|codec| weight(*codec)).max().unwrap();
            match chosen {
                Some(codec) => {
                    prop_assert!(weight(codec) == best && best > 0);
                    prop_assert!(best >= of(2).unwrap_or(0));
                }
                None => prop_assert!(best == 0 || best < of(2).unwrap_or(0)),
            }
        }

        #[test]
        fn whatever_a_caller_sends_is_read_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..40), text in "[gzipqstd0-9*;=., ]{0,40}",
        ) {
            let mut map = HeaderMap::new();
            for value in [&bytes[..], text.as_bytes()] {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    map.append(header::ACCEPT_ENCODING, value);
                }
            }
            let _ = negotiate(&map);
        }
    }
}
