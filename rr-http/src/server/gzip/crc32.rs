//! The checksum of gzip (RFC 1952 §8).

/// The polynomial, its bits reversed.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// What a byte does to the checksum, and what it does when up to seven others come after it:
/// so eight are taken in at once.
const TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let (mut sum, mut bit) = (byte as u32, 0);
        while bit < 8 {
            sum = (sum >> 1) ^ (POLYNOMIAL * (sum & 1));
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut at = 256;
    while at < 8 * 256 {
        let before = tables[at / 256 - 1][at % 256];
        tables[at / 256][at % 256] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
        at += 1;
    }
    tables
}

/// Returns the checksum of some bytes.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let (eights, rest) = bytes.split_at(bytes.len() / 8 * 8);
    let mut sum = !0;
    for eight in eights.chunks_exact(8) {
        let mut next = 0;
        for (at, &byte) in eight.iter().enumerate() {
            let byte = if at < 4 { byte ^ (sum >> (8 * at)) as u8 } else { byte };
            next ^= TABLES[7 - at][usize::from(byte)];
        }
        sum = next;
    }
    for &byte in rest {
        sum = (sum >> 8) ^ TABLES[0][usize::from(sum as u8 ^ byte)];
    }
    !sum
}

#[cfg(test)]
mod tests {
    use flate2::Crc;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_check_value_comes_out() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    proptest! {
        #[test]
        fn it_is_what_others_compute(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut crc = Crc::new();
            crc.update(&bytes);
            prop_assert_eq!(crc32(&bytes), crc.sum());
        }
    }
}
