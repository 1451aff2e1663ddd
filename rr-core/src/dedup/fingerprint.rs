//! Fingerprints that distinguish a duplicate from another request with the same key.

use std::fmt;

use rr_spi::Request;

/// Hash of target and body, which distinguishes a duplicate from another request with the same key.
///
/// The hash is 128-bit FNV-1a, the same in every process and version. It detects mistakes; a caller
/// can construct collisions with its own requests.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

/// FNV's offset basis and prime for 128 bits.
const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

impl Fingerprint {
    /// Returns the fingerprint of a request. Headers do not count: they change from one attempt to
    /// the next.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let hash = hash_on(BASIS, request.target.as_str().as_bytes());
        // No target contains this byte, so bytes of the body cannot count as part of the target.
        Self(hash_on(hash_on(hash, &[0]), &request.body))
    }

    /// Returns the fingerprint as bytes, most significant first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

fn hash_on(start: u128, bytes: &[u8]) -> u128 {
    bytes.iter().fold(start, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({:032x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: &'static str, body: &'static str) -> Fingerprint {
        Fingerprint::of(&Request::new(target.try_into().unwrap(), body))
    }

    #[test]
    fn the_hash_is_fnv_1a_of_128_bits() {
        assert_eq!(hash_on(BASIS, b""), BASIS);
        assert_eq!(hash_on(BASIS, b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(hash_on(BASIS, b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }

    #[test]
    fn target_and_body_both_count_and_do_not_run_into_each_other() {
        assert_eq!(of("a.b", "c"), of("a.b", "c"));
        assert_ne!(of("a.b", "c"), of("a.b", "d"));
        assert_ne!(of("a.b", "c"), of("a.c", "c"));
        assert_ne!(of("a.b", "c"), of("a.bc", ""));
        assert_eq!(of("a.b", "c").to_bytes(), of("a.b", "c").to_bytes());
    }
}
