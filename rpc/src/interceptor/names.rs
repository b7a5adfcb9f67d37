//! What methods are called, for people.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::descriptor::{MethodDescriptor, ServiceDescriptor};

/// The method of a call whose number has no name.
const OTHER: &str = "other";

/// Names of methods by their numbers, for labels of metrics and spans.
///
/// Peers choose the numbers of their calls: with a table, they cannot choose how
/// many labels there are.
#[derive(Clone, Debug, Default)]
pub struct MethodNames {
    names: Arc<HashMap<u64, Arc<str>>>,
}

impl MethodNames {
    /// The methods with these names, such as `store.v1.Store/Put`. The number of
    /// each is the first eight bytes, little-endian, of SHA-256 of its name, as
    /// generated code has it.
    pub fn new<N: Into<Arc<str>>>(names: impl IntoIterator<Item = N>) -> Self {
        names
            .into_iter()
            .map(Into::into)
            .map(|name: Arc<str>| (number_of(&name), name))
            .collect()
    }

    /// The methods of these services, such as those of a generated `SERVICE`.
    pub fn of<'a>(services: impl IntoIterator<Item = &'a ServiceDescriptor>) -> Self {
        services
            .into_iter()
            .flat_map(|service| {
                let named = |method: &MethodDescriptor| {
                    (method.number, format!("{}/{}", service.name, method.name))
                };
                service.methods.iter().map(named)
            })
            .collect()
    }

    /// The name of a method, or `other`.
    pub fn name(&self, method: u64) -> Arc<str> {
        self.names
            .get(&method)
            .map_or_else(|| Arc::from(OTHER), Arc::clone)
    }
}

/// Methods whose numbers were chosen by hand.
impl<N: Into<Arc<str>>> FromIterator<(u64, N)> for MethodNames {
    fn from_iter<T: IntoIterator<Item = (u64, N)>>(names: T) -> Self {
        let names = names
            .into_iter()
            .map(|(number, name)| (number, name.into()));
        Self {
            names: Arc::new(names.collect()),
        }
    }
}

fn number_of(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::Fingerprint;
    use crate::retry::Guard;
    use crate::service::MethodKind;

    #[test]
    fn the_number_is_the_one_of_generated_code() {
        // FIPS 180-4, example "abc": ba7816bf 8f01cfea ...
        assert_eq!(number_of("abc"), 0xeacf_018f_bf16_78ba);
        let names = MethodNames::new(["abc"]);
        assert_eq!(&*names.name(0xeacf_018f_bf16_78ba), "abc");
    }

    #[test]
    fn methods_of_services_have_the_name_that_their_number_is_made_of() {
        let method = |name, number| MethodDescriptor {
            name,
            number,
            kind: MethodKind::Unary,
            guard: Guard::Once,
        };
        let put = number_of("store.v1.Store/Put");
        let methods: &'static [_] = Box::leak(Box::new([method("Put", put), method("Get", 7)]));
        let store = ServiceDescriptor {
            name: "store.v1.Store",
            fingerprint: Fingerprint::from_bytes([0; 32]),
            earlier: &[],
            methods,
            file_descriptors: &[],
        };
        let names = MethodNames::of([&store]);
        assert_eq!(&*names.name(put), "store.v1.Store/Put");
        // The descriptor's number counts, whatever the name would come to.
        assert_eq!(&*names.name(7), "store.v1.Store/Get");
        assert_eq!(&*names.name(number_of("store.v1.Store/Get")), OTHER);
        assert_eq!(&*MethodNames::of([]).name(put), OTHER);
    }

    #[test]
    fn unknown_numbers_share_one_name() {
        let names = MethodNames::from_iter([(7, "seven")]);
        assert_eq!(&*names.name(7), "seven");
        for unknown in [0, 8, u64::MAX] {
            assert_eq!(&*names.name(unknown), OTHER);
        }
    }
}
