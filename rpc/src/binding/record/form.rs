//! What a record may hold, whoever signed it.

use std::net::Ipv6Addr;

use sealmoot_crypto::agreement::{AgreementKey, AgreementPublic};
use sealmoot_crypto::encoding::EncodingError;
use sealmoot_crypto::secret::SecretArray;

use super::{Endpoint, Fingerprint, NameRecord, RecordError, Served, Way};
use crate::limits::binding::{
    ADDRESS_BYTES_MAX, ENDPOINTS_MAX, SERVICE_BYTES_MAX, SERVICES_MAX, SOCKET_PATH_BYTES_MAX,
    TTL_SECONDS_MAX,
};

impl NameRecord {
    /// All but the keys.
    pub(super) fn check(&self) -> Result<(), RecordError> {
        if !(1..=TTL_SECONDS_MAX).contains(&self.ttl_seconds) {
            return Err(RecordError::TimeToLive {
                seconds: self.ttl_seconds,
            });
        }
        let count = self.services.len();
        if count > SERVICES_MAX {
            return Err(RecordError::TooManyServices { count });
        }
        let count = self.endpoints.len();
        if count > ENDPOINTS_MAX {
            return Err(RecordError::TooManyEndpoints { count });
        }
        if count == 0 {
            return Err(RecordError::NoEndpoint);
        }
        // Strictly ascending: one order of one set, and nothing in it twice.
        let ascending = |pairs: bool, what| {
            if pairs {
                Ok(())
            } else {
                Err(EncodingError::Invalid(what))
            }
        };
        ascending(
            self.services
                .is_sorted_by(|left, right| left.schema() < right.schema()),
            "services are out of order, or one is there twice with one schema",
        )?;
        ascending(
            self.endpoints
                .is_sorted_by(|left, right| left.place() < right.place()),
            "endpoints are out of order, or one is there twice",
        )?;
        if !self
            .services
            .iter()
            .all(|served| is_service(&served.service))
        {
            return Err(EncodingError::Invalid("a service's name is malformed").into());
        }
        self.endpoints.iter().try_for_each(Endpoint::check)
    }

    /// Refuses Noise keys of low order. An agreement for each.
    pub(super) fn check_noise_keys(&self) -> Result<(), RecordError> {
        // No secret: a point of low order gives zero under every scalar, because
        // RFC 7748 makes scalars multiples of eight.
        let probe = AgreementKey::from_bytes(&SecretArray::from_bytes([1; 32]));
        let weak = self.endpoints.iter().find(|endpoint| match &endpoint.way {
            Way::Noise(key) => probe.agree(key).is_err(),
            Way::Tls | Way::Unix => false,
        });
        match weak {
            Some(endpoint) => Err(RecordError::WeakNoiseKey {
                address: endpoint.address.clone(),
            }),
            None => Ok(()),
        }
    }
}

impl Served {
    /// What no two entries of a record share, and what orders them.
    pub(super) fn schema(&self) -> (&str, &Fingerprint) {
        (&self.service, &self.fingerprint)
    }
}

impl Endpoint {
    /// What no two endpoints of a record share, and what orders them.
    pub(super) fn place(&self) -> (u8, &str) {
        (self.way.number(), &self.address)
    }

    fn check(&self) -> Result<(), RecordError> {
        let (sound, fault) = match self.way {
            Way::Tls | Way::Noise(_) => (
                is_host_and_port(&self.address),
                "an address is not HOST:PORT",
            ),
            Way::Unix => (
                is_socket_path(&self.address),
                "an address is not the absolute path of a socket",
            ),
        };
        if !sound {
            return Err(EncodingError::Invalid(fault).into());
        }
        match &self.way {
            Way::Noise(key) if !is_reduced(key) => {
                Err(EncodingError::Invalid("a Noise key is not below the prime").into())
            }
            _ => Ok(()),
        }
    }
}

/// `package.Service`, as Protocol Buffers have it.
pub(crate) fn is_service(text: &str) -> bool {
    let is_identifier = |part: &str| {
        let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        let bytes = part.as_bytes();
        bytes.first().is_some_and(|byte| first(*byte))
            && bytes
                .iter()
                .all(|byte| first(*byte) || byte.is_ascii_digit())
    };
    text.len() <= SERVICE_BYTES_MAX && text.split('.').all(is_identifier)
}

fn is_host_and_port(text: &str) -> bool {
    let is_port = |port: &str| {
        !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok_and(|port| port != 0)
    };
    text.len() <= ADDRESS_BYTES_MAX
        && text
            .rsplit_once(':')
            .is_some_and(|(host, port)| is_host(host) && is_port(port))
}

/// A name, an IPv4 address, or an IPv6 address in brackets: without them nobody can
/// tell its last group from a port.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        }
    }
}

fn is_socket_path(text: &str) -> bool {
    text.len() <= SOCKET_PATH_BYTES_MAX
        && text.len() > 1
        && text.starts_with('/')
        && !text.chars().any(char::is_control)
}

/// Whether the coordinate is below `2^255 - 19` (RFC 7748, section 5): X25519 would
/// take others for the same key, and one key is to have one encoding.
fn is_reduced(key: &AgreementPublic) -> bool {
    let [low, middle @ .., high] = key.as_bytes();
    *high < 0x7f || (*high == 0x7f && (middle.iter().any(|byte| *byte != 0xff) || *low < 0xed))
}
