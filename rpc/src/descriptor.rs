//! What a service is, as data: its name, its schema, its methods.

use std::fmt;

use crate::binding::Fingerprint;
use crate::retry::Guard;
use crate::service::MethodKind;

/// A service as its schema has it. Generated code has one for each service, as
/// `SERVICE` beside the numbers of its methods.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ServiceDescriptor {
    /// The full name, `package.Service`.
    pub name: &'static str,
    /// Of the schema: what matters on the wire, as drawn in `rpc/DESIGN.md`.
    pub fingerprint: Fingerprint,
    /// Of former schemas, with whose servers and clients this one gets along: the
    /// build has checked that.
    pub earlier: &'static [Fingerprint],
    /// In the order of the schema.
    pub methods: &'static [MethodDescriptor],
    /// The schema and all that it imports, as an encoded
    /// `google.protobuf.FileDescriptorSet` without comments.
    pub file_descriptors: &'static [u8],
}

/// A method of a [`ServiceDescriptor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodDescriptor {
    /// The name in the schema.
    pub name: &'static str,
    /// The number on the wire.
    pub number: u64,
    /// Which directions of its calls are streams.
    pub kind: MethodKind,
    /// Why it may be called again, if it may.
    pub guard: Guard,
}

impl ServiceDescriptor {
    /// Whether this side gets along with a schema: its own, or an earlier one.
    #[must_use]
    pub fn accepts(&self, fingerprint: &Fingerprint) -> bool {
        self.fingerprint == *fingerprint || self.earlier.contains(fingerprint)
    }
}

/// Without the schema's bytes, which say nothing to a reader.
impl fmt::Debug for ServiceDescriptor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServiceDescriptor")
            .field("name", &self.name)
            .field("fingerprint", &self.fingerprint)
            .field("earlier", &self.earlier)
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_schema_and_earlier_ones_are_accepted_and_no_others() {
        const fn fingerprint(byte: u8) -> Fingerprint {
            Fingerprint::from_bytes([byte; 32])
        }
        static EARLIER: [Fingerprint; 2] = [fingerprint(2), fingerprint(1)];
        let descriptor = ServiceDescriptor {
            name: "a.v1.S",
            fingerprint: fingerprint(3),
            earlier: &EARLIER,
            methods: &[],
            file_descriptors: &[],
        };
        for accepted in [1, 2, 3] {
            assert!(descriptor.accepts(&fingerprint(accepted)), "{accepted}");
        }
        for other in [0, 4] {
            assert!(!descriptor.accepts(&fingerprint(other)), "{other}");
        }
    }
}
