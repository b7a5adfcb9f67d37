//! The tokens of each message, and the length that follows from them.
//!
//! Noise revision 34, section 7.5; the tokens `e1` and `ekem1` and their places
//! from "KEM-based Hybrid Forward Secrecy for Noise", revision 1, sections 4
//! and 5. Its text puts `e1` behind the first Diffie-Hellman of the message, so
//! that the key is encrypted; its table shows KK otherwise. The text is
//! followed here, as it is by snow.

use super::hybrid::{CIPHERTEXT_BYTES, ENCAPSULATION_KEY_BYTES};
use super::limits::TAG_BYTES;
use super::suite::{Hybrid, Pattern};

/// Bytes of an X25519 public key.
pub(super) const DH_BYTES: usize = 32;

/// One step in writing or reading a message. Two letters name whose keys meet:
/// the initiator's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Ephemeral,
    Static,
    EphemeralEphemeral,
    EphemeralStatic,
    StaticEphemeral,
    StaticStatic,
    /// `e1`: the sender's ephemeral encapsulation key.
    KemKey,
    /// `ekem1`: a ciphertext to that key.
    KemCiphertext,
}

use Token::{
    Ephemeral as E, EphemeralEphemeral as EE, EphemeralStatic as ES, KemCiphertext as EKEM1,
    KemKey as E1, Static as S, StaticEphemeral as SE, StaticStatic as SS,
};

/// The messages in order; the initiator writes the first, and so on in turn.
pub(super) const fn messages(pattern: Pattern, hybrid: Hybrid) -> &'static [&'static [Token]] {
    match (pattern, hybrid) {
        (Pattern::Xx, Hybrid::Off) => &[&[E], &[E, EE, S, ES], &[S, SE]],
        (Pattern::Xx, Hybrid::MlKem768) => &[&[E, E1], &[E, EE, EKEM1, S, ES], &[S, SE]],
        (Pattern::Ik, Hybrid::Off) => &[&[E, ES, S, SS], &[E, EE, SE]],
        (Pattern::Ik, Hybrid::MlKem768) => &[&[E, ES, E1, S, SS], &[E, EE, EKEM1, SE]],
        (Pattern::Kk, Hybrid::Off) => &[&[E, ES, SS], &[E, EE, SE]],
        (Pattern::Kk, Hybrid::MlKem768) => &[&[E, ES, E1, SS], &[E, EE, EKEM1, SE]],
    }
}

/// Whether the initiator's static key is known before the first message.
pub(super) const fn initiator_known(pattern: Pattern) -> bool {
    matches!(pattern, Pattern::Kk)
}

/// Whether the responder's static key is known before the first message.
pub(super) const fn responder_known(pattern: Pattern) -> bool {
    matches!(pattern, Pattern::Ik | Pattern::Kk)
}

/// Bytes of message `index` with an empty payload, or `None` behind the last.
pub(super) const fn message_bytes(pattern: Pattern, hybrid: Hybrid, index: usize) -> Option<usize> {
    let messages = messages(pattern, hybrid);
    if index >= messages.len() {
        return None;
    }
    // Whatever follows the first key agreement is encrypted.
    let mut tag = 0;
    let mut message = 0;
    loop {
        let mut bytes = 0;
        let mut token = 0;
        while token < messages[message].len() {
            match messages[message][token] {
                E => bytes += DH_BYTES,
                S => bytes += DH_BYTES + tag,
                E1 => bytes += ENCAPSULATION_KEY_BYTES + tag,
                EKEM1 => bytes += CIPHERTEXT_BYTES + tag,
                EE | ES | SE | SS => tag = TAG_BYTES,
            }
            token += 1;
        }
        if message == index {
            return Some(bytes + tag);
        }
        message += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::first_message::FIRST_MESSAGE_TAG_BYTES;
    use super::super::limits::{HANDSHAKE_FRAME_BYTES_MAX, PREFIX_BYTES};
    use super::super::suite::OFFER_BYTES;
    use super::*;

    fn lengths(pattern: Pattern, hybrid: Hybrid) -> Vec<usize> {
        (0..)
            .map_while(|index| message_bytes(pattern, hybrid, index))
            .collect()
    }

    // As drawn in rpc/DESIGN.md.
    #[test]
    fn messages_have_the_lengths_that_are_drawn() {
        assert_eq!(lengths(Pattern::Xx, Hybrid::Off), [32, 96, 64]);
        assert_eq!(lengths(Pattern::Xx, Hybrid::MlKem768), [1216, 1200, 64]);
        assert_eq!(lengths(Pattern::Ik, Hybrid::Off), [96, 48]);
        assert_eq!(lengths(Pattern::Ik, Hybrid::MlKem768), [1296, 1152]);
        assert_eq!(lengths(Pattern::Kk, Hybrid::Off), [48, 48]);
        assert_eq!(lengths(Pattern::Kk, Hybrid::MlKem768), [1248, 1152]);
    }

    #[test]
    fn the_longest_frame_is_the_named_maximum() {
        let longest = [Pattern::Xx, Pattern::Ik, Pattern::Kk]
            .into_iter()
            .flat_map(|pattern| lengths(pattern, Hybrid::MlKem768))
            .max()
            .expect("there are messages");
        assert_eq!(
            PREFIX_BYTES + OFFER_BYTES + longest + FIRST_MESSAGE_TAG_BYTES,
            HANDSHAKE_FRAME_BYTES_MAX
        );
    }
}
