//! Which member is asked first about a key, so that its warm ballots stay in one
//! place and its writes queue there instead of duelling. Any member will do: this is
//! a preference, never a condition.

/// The index of the preferred member, of `members`: the 64-bit FNV-1a hash of the key
/// (Fowler, Noll and Vo), mixed and scaled. Keys are not secret from members, and a
/// client that picks them all for one member slows nobody down but itself.
#[must_use]
pub fn preferred_member(key: &[u8], members: usize) -> usize {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // FNV's upper bits are poor for short keys.
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let scaled = (u128::from(hash) * members as u128) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_over_the_members() {
        let mut counts = [0; 3];
        for number in 0..3_000 {
            counts[preferred_member(format!("app/{number}").as_bytes(), 3)] += 1;
        }
        assert!(counts.iter().all(|count| *count > 800), "{counts:?}");
        assert_eq!(preferred_member(b"app/x", 1), 0);
        assert_eq!(preferred_member(b"app/x", 0), 0);
    }
}
