//! Token ids on the command line and in results.
#![forbid(unsafe_code)]

/// Ids separated by commas, spaces allowed.
#[derive(Clone, Debug)]
pub struct Ids(pub Vec<u32>);

impl std::str::FromStr for Ids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self(Vec::new()));
        }
        let ids = text
            .split(',')
            .map(|id| id.trim().parse().map_err(|_| format!("{:?} is not a token id", id.trim())));
        ids.collect::<Result<_, _>>().map(Self)
    }
}

/// FNV-1a, 64 bits, over the ids as little-endian u32: a name for a sequence
/// that every host can compute.
pub fn fnv1a64(ids: &[u32]) -> String {
    let bytes = ids.iter().flat_map(|id| id.to_le_bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv1a64(&[]), "cbf29ce484222325");
        // From the authors' list of test vectors: "foob".
        assert_eq!(fnv1a64(&[u32::from_le_bytes(*b"foob")]), "dd120e790c2512af");
    }

    #[test]
    fn ids_are_read_and_refused() {
        assert_eq!("1, 2,3".parse::<Ids>().unwrap().0, [1, 2, 3]);
        assert!("".parse::<Ids>().unwrap().0.is_empty());
        assert!(
            "1,,2".parse::<Ids>().is_err()
                && "-1".parse::<Ids>().is_err()
                && "4294967296".parse::<Ids>().is_err()
        );
    }
}
