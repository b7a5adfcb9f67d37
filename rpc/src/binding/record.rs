//! Signed name records: where a name is served, said by somebody who may say so.
//!
//! The bytes are drawn in `rpc/DESIGN.md`. Every value has one encoding, and the
//! bytes that were signed are the bytes that are passed on. What was merely decoded
//! is a [`Claim`]; only [`Claim::believe`] makes a [`VerifiedRecord`] of it.

use std::fmt;
use std::num::NonZeroU8;

use bytes::Bytes;
use sealmoot_crypto::agreement::AgreementPublic;
use sealmoot_crypto::encoding::EncodingError;
use sealmoot_crypto::signature::{KeyId, KeyRejected, SigningKey, VerifyingKey};

use super::name::Name;
use crate::descriptor::ServiceDescriptor;
use crate::hexadecimal::Hexadecimal;
use crate::limits::binding::{ENDPOINTS_MAX, RECORD_BYTES_MAX, SERVICES_MAX, TTL_SECONDS_MAX};

mod encoding;
mod form;

use encoding::SIGNATURE_BYTES;
pub(crate) use form::is_service;

/// Domain of the signatures.
const DOMAIN: &str = "sealmoot name record 1";

/// Where a name is served. As plain data it is nobody's word yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRecord {
    /// The name.
    pub name: Name,
    /// Counts up with each record of the name: whoever has seen one takes none
    /// with a smaller one.
    pub serial: u64,
    /// Until when the record counts, in milliseconds since 1970.
    pub valid_until_ms: u64,
    /// For how many seconds it may be used before its source is asked again, from
    /// 1 to [`TTL_SECONDS_MAX`].
    pub ttl_seconds: u32,
    /// What is served there, each service once for each schema whose clients are
    /// taken; at most [`SERVICES_MAX`] in all.
    pub services: Vec<Served>,
    /// Where, each address once; from one to [`ENDPOINTS_MAX`]. Their order says
    /// nothing.
    pub endpoints: Vec<Endpoint>,
}

/// One service of a [`NameRecord`], with one schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its full name, `package.Service`.
    pub service: String,
    /// Its schema, or an earlier one.
    pub fingerprint: Fingerprint,
}

impl Served {
    /// The service with its schema and all earlier ones: clients of any of them
    /// are taken.
    #[must_use]
    pub fn all_of(descriptor: &ServiceDescriptor) -> Vec<Self> {
        let served = |fingerprint: &Fingerprint| Self {
            service: descriptor.name.to_owned(),
            fingerprint: *fingerprint,
        };
        [&descriptor.fingerprint]
            .into_iter()
            .chain(descriptor.earlier)
            .map(served)
            .collect()
    }
}

/// One place at which all services of a [`NameRecord`] are served.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// How it is reached.
    pub way: Way,
    /// `host:port`, or the absolute path of a Unix socket.
    pub address: String,
    /// Whom to find there: the identity that follows from the server's Ed25519
    /// key. Not the key itself, which the server shows and proves.
    pub key_id: KeyId,
    /// Its share of the calls, relative to the other endpoints.
    pub weight: NonZeroU8,
}

/// How an [`Endpoint`] is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// TLS 1.3 over TCP.
    Tls,
    /// Noise over TCP, to the holder of this static key.
    Noise(AgreementPublic),
    /// A Unix socket of this machine.
    Unix,
}

/// SHA-256 of a service's schema in its canonical form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hexadecimal(&self.0).fmt(formatter)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({self})")
    }
}

/// Why a record was not believed, or could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// More bytes than the longest record has.
    #[error("{length} bytes are longer than any name record")]
    TooLong {
        /// How many.
        length: usize,
    },
    /// The bytes are no name record, or not its one encoding.
    #[error("not a name record: {0}")]
    NotCanonical(#[from] EncodingError),
    /// It names no endpoint.
    #[error("the record names no endpoint")]
    NoEndpoint,
    /// It names more endpoints than [`ENDPOINTS_MAX`].
    #[error("the record names {count} endpoints, more than {ENDPOINTS_MAX}")]
    TooManyEndpoints {
        /// How many.
        count: usize,
    },
    /// It names more services than [`SERVICES_MAX`].
    #[error("the record names {count} services, more than {SERVICES_MAX}")]
    TooManyServices {
        /// How many.
        count: usize,
    },
    /// Its time to live is zero or above [`TTL_SECONDS_MAX`].
    #[error("a time to live of {seconds} s is not from 1 to {TTL_SECONDS_MAX}")]
    TimeToLive {
        /// What it is.
        seconds: u32,
    },
    /// The signer's key is malformed or weak.
    #[error("the signer's key: {0}")]
    SignerRejected(KeyRejected),
    /// Its signer is none of those who are trusted with names.
    #[error("signed by {0}, who is not trusted with names")]
    UnknownSigner(KeyId),
    /// The signature does not verify.
    #[error("the record's signature does not verify")]
    BadSignature,
    /// A Noise key with which any agreement comes to zero.
    #[error("the Noise key of {} is weak: of low order", address.escape_debug())]
    WeakNoiseKey {
        /// Of which endpoint.
        address: String,
    },
    /// It is about another name.
    #[error("the record is about {found}, not about {wanted}")]
    OtherName {
        /// Whose record was wanted.
        wanted: Name,
        /// Whose it is.
        found: Name,
    },
    /// Its time is over.
    #[error("the record has expired")]
    Expired,
    /// A newer record of the name has been seen: somebody shows an old one.
    #[error("serial {found} is older than {floor}, which has been seen")]
    OlderSerial {
        /// The record's.
        found: u64,
        /// The newest seen.
        floor: u64,
    },
    /// Two records of the name differ and have one serial: one of them must not be,
    /// and nobody can tell which.
    #[error("another record with serial {serial} has been seen")]
    SerialReused {
        /// The serial of both.
        serial: u64,
    },
    /// The wanted service is not served under the name.
    #[error("{} is not served there", service.escape_debug())]
    ServiceMissing {
        /// Its full name.
        service: String,
    },
    /// The wanted service is served with other schemas alone.
    #[error("{} is served there with another schema, {found}", service.escape_debug())]
    OtherFingerprint {
        /// Its full name.
        service: String,
        /// What the record says; the first of several.
        found: Fingerprint,
    },
}

impl NameRecord {
    /// Signs the record, services by name and schema and endpoints by address.
    ///
    /// # Errors
    ///
    /// [`RecordError`] when nobody would take it: a list that is empty, too long or
    /// names one twice, a text or time to live that is no such, a weak Noise key.
    pub fn sign(mut self, signer: &SigningKey) -> Result<VerifiedRecord, RecordError> {
        self.services
            .sort_by(|left, right| left.schema().cmp(&right.schema()));
        self.endpoints
            .sort_by(|left, right| left.place().cmp(&right.place()));
        self.check()?;
        self.check_noise_keys()?;
        let signer_key = signer.verifying_key();
        let mut bytes = self.encode(&signer_key);
        let signature = signer.sign(DOMAIN, &bytes);
        bytes.extend_from_slice(&signature.to_bytes());
        Ok(VerifiedRecord {
            bytes: bytes.into(),
            signer: signer_key.key_id(),
            record: self,
        })
    }

    /// Whether `service` is served with one of the `accepted` schemas.
    ///
    /// # Errors
    ///
    /// [`RecordError::ServiceMissing`], [`RecordError::OtherFingerprint`].
    pub fn check_service(
        &self,
        service: &str,
        accepted: &[Fingerprint],
    ) -> Result<(), RecordError> {
        self.check_served(service, |fingerprint| accepted.contains(fingerprint))
    }

    /// Whether a client with the schema of `wanted` gets along with what is served
    /// there: a schema is listed that it accepts.
    ///
    /// # Errors
    ///
    /// As [`NameRecord::check_service`].
    pub fn check_schema(&self, wanted: &ServiceDescriptor) -> Result<(), RecordError> {
        self.check_served(wanted.name, |fingerprint| wanted.accepts(fingerprint))
    }

    fn check_served(
        &self,
        service: &str,
        is_accepted: impl Fn(&Fingerprint) -> bool,
    ) -> Result<(), RecordError> {
        let mut found = None;
        for served in &self.services {
            if served.service == service {
                if is_accepted(&served.fingerprint) {
                    return Ok(());
                }
                found.get_or_insert(served.fingerprint);
            }
        }
        let service = service.to_owned();
        Err(match found {
            Some(found) => RecordError::OtherFingerprint { service, found },
            None => RecordError::ServiceMissing { service },
        })
    }
}

/// A record as it was received: what it says is not to be believed yet.
#[derive(Clone, Debug)]
pub struct Claim {
    bytes: Bytes,
    signer: VerifyingKey,
    record: NameRecord,
}

impl Claim {
    /// Takes a signed record apart without believing it.
    ///
    /// # Errors
    ///
    /// [`RecordError`] about its form or its signer's key.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong {
                length: bytes.len(),
            });
        }
        let (signer, record) = encoding::decode(bytes)?;
        Ok(Self {
            bytes: Bytes::copy_from_slice(bytes),
            signer,
            record,
        })
    }

    /// What it says, unbelieved: to find out whom to ask about it.
    #[must_use]
    pub fn claimed(&self) -> &NameRecord {
        &self.record
    }

    /// Who claims to have signed it, unbelieved.
    #[must_use]
    pub fn signer(&self) -> &VerifyingKey {
        &self.signer
    }

    /// Believes the record if one of `trusted` signed it, it is about `wanted`, its
    /// time is not over at `now_ms` (milliseconds since 1970), and its serial is
    /// not below `serial_floor`, the newest seen.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: the first of these that does not hold.
    pub fn believe(
        self,
        wanted: &Name,
        trusted: &[KeyId],
        now_ms: u64,
        serial_floor: u64,
    ) -> Result<VerifiedRecord, RecordError> {
        let verified = self.believe_signer(trusted)?;
        verified.check_use(wanted, now_ms, serial_floor)?;
        Ok(verified)
    }

    /// Believes that one of `trusted` signed it, whatever it is about and whether
    /// or not it still counts: for whoever keeps records and hands them on.
    ///
    /// # Errors
    ///
    /// [`RecordError`] about the signer, the signature or a Noise key.
    pub fn believe_signer(self, trusted: &[KeyId]) -> Result<VerifiedRecord, RecordError> {
        let signer = self.signer.key_id();
        if !trusted.contains(&signer) {
            return Err(RecordError::UnknownSigner(signer));
        }
        let (signed, signature) = self.bytes.split_at(self.bytes.len() - SIGNATURE_BYTES);
        self.signer
            .verify(DOMAIN, signed, &encoding::signature(signature))
            .map_err(|_| RecordError::BadSignature)?;
        // An agreement for each key: only where a trusted signer causes it.
        self.record.check_noise_keys()?;
        Ok(VerifiedRecord {
            bytes: self.bytes,
            signer,
            record: self.record,
        })
    }
}

/// Takes a signed record apart and believes it: [`Claim::decode`] and
/// [`Claim::believe`].
///
/// # Errors
///
/// [`RecordError`], one variant for each reason.
pub fn verify(
    bytes: &[u8],
    wanted: &Name,
    trusted: &[KeyId],
    now_ms: u64,
    serial_floor: u64,
) -> Result<VerifiedRecord, RecordError> {
    Claim::decode(bytes)?.believe(wanted, trusted, now_ms, serial_floor)
}

/// A record that a trusted signer has signed.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedRecord {
    bytes: Bytes,
    signer: KeyId,
    record: NameRecord,
}

impl VerifiedRecord {
    /// What it says.
    #[must_use]
    pub fn record(&self) -> &NameRecord {
        &self.record
    }

    /// Who signed it.
    #[must_use]
    pub fn signer(&self) -> KeyId {
        self.signer
    }

    /// The signed bytes, to be stored or passed on.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether it is about `wanted`, still counts at `now_ms`, and is not older
    /// than `serial_floor`: what may change after it was verified.
    pub(super) fn check_use(
        &self,
        wanted: &Name,
        now_ms: u64,
        serial_floor: u64,
    ) -> Result<(), RecordError> {
        let record = &self.record;
        if record.name != *wanted {
            return Err(RecordError::OtherName {
                wanted: wanted.clone(),
                found: record.name.clone(),
            });
        }
        if now_ms >= record.valid_until_ms {
            return Err(RecordError::Expired);
        }
        if record.serial < serial_floor {
            return Err(RecordError::OlderSerial {
                found: record.serial,
                floor: serial_floor,
            });
        }
        Ok(())
    }

    /// Whether it may stand in the place of `held`, a record of the same name.
    pub(super) fn check_succeeds(&self, held: &Self) -> Result<(), RecordError> {
        let (new, old) = (&self.record, &held.record);
        if new.serial < old.serial {
            return Err(RecordError::OlderSerial {
                found: new.serial,
                floor: old.serial,
            });
        }
        if new.serial == old.serial && new != old {
            return Err(RecordError::SerialReused { serial: new.serial });
        }
        Ok(())
    }
}

impl fmt::Debug for VerifiedRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VerifiedRecord")
            .field("record", &self.record)
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
