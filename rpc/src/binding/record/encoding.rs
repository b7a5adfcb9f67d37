//! The bytes of a record.

use std::num::NonZeroU8;

use sealmoot_crypto::agreement::AgreementPublic;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::{KeyId, Signature, VerifyingKey};

use super::{Endpoint, Fingerprint, NameRecord, RecordError, Served, Way};
use crate::limits::binding::{
    ADDRESS_BYTES_MAX, ENDPOINTS_MAX, NAME_BYTES_MAX, SERVICE_BYTES_MAX, SERVICES_MAX,
};

const VERSION: u8 = 1;

/// Behind all else.
pub(super) const SIGNATURE_BYTES: usize = 64;

impl Way {
    /// The number that travels.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Tls => 1,
            Self::Noise(_) => 2,
            Self::Unix => 3,
        }
    }
}

impl NameRecord {
    /// What is signed. Services and endpoints must be in order.
    pub(super) fn encode(&self, signer: &VerifyingKey) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.fixed(&signer.to_bytes());
        writer.u64(self.serial);
        writer.u64(self.valid_until_ms);
        writer.u32(self.ttl_seconds);
        writer.text(self.name.as_str());
        writer.count(self.services.len());
        for served in &self.services {
            writer.text(&served.service);
            writer.fixed(served.fingerprint.as_bytes());
        }
        writer.count(self.endpoints.len());
        for endpoint in &self.endpoints {
            writer.u8(endpoint.way.number());
            if let Way::Noise(key) = &endpoint.way {
                writer.fixed(key.as_bytes());
            }
            writer.fixed(endpoint.key_id.as_bytes());
            writer.u8(endpoint.weight.get());
            writer.text(&endpoint.address);
        }
        writer.finish()
    }
}

/// Signer and record, of sound form.
pub(super) fn decode(bytes: &[u8]) -> Result<(VerifyingKey, NameRecord), RecordError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(unknown("name record version", version).into());
    }
    let signer = reader.array()?;
    let serial = reader.u64()?;
    let valid_until_ms = reader.u64()?;
    let ttl_seconds = reader.u32()?;
    let name = reader.text(NAME_BYTES_MAX)?;
    let name = name
        .parse()
        .map_err(|_| EncodingError::Invalid("the name is malformed"))?;
    let services = read_services(&mut reader)?;
    let endpoints = read_endpoints(&mut reader)?;
    let _signature: [u8; SIGNATURE_BYTES] = reader.array()?;
    reader.finish()?;
    let record = NameRecord {
        name,
        serial,
        valid_until_ms,
        ttl_seconds,
        services,
        endpoints,
    };
    record.check()?;
    // Arithmetic on the curve comes last: garbage does not get so far.
    let signer = VerifyingKey::from_bytes(&signer).map_err(RecordError::SignerRejected)?;
    Ok((signer, record))
}

/// The last bytes of a record that has been decoded.
pub(super) fn signature(bytes: &[u8]) -> Signature {
    Signature::from_bytes(bytes.try_into().expect("a record ends with a signature"))
}

fn read_services(reader: &mut Reader<'_>) -> Result<Vec<Served>, RecordError> {
    let count = read_count(reader)?;
    if count > SERVICES_MAX {
        return Err(RecordError::TooManyServices { count });
    }
    let mut services = Vec::with_capacity(count);
    for _ in 0..count {
        services.push(Served {
            service: reader.text(SERVICE_BYTES_MAX)?.to_owned(),
            fingerprint: Fingerprint::from_bytes(reader.array()?),
        });
    }
    Ok(services)
}

fn read_endpoints(reader: &mut Reader<'_>) -> Result<Vec<Endpoint>, RecordError> {
    let count = read_count(reader)?;
    if count > ENDPOINTS_MAX {
        return Err(RecordError::TooManyEndpoints { count });
    }
    let mut endpoints = Vec::with_capacity(count);
    for _ in 0..count {
        let way = match reader.u8()? {
            1 => Way::Tls,
            2 => Way::Noise(AgreementPublic::from_bytes(reader.array()?)),
            3 => Way::Unix,
            number => return Err(unknown("transport", number).into()),
        };
        let key_id = KeyId::from_bytes(reader.array()?);
        let weight =
            NonZeroU8::new(reader.u8()?).ok_or(EncodingError::Invalid("a weight is zero"))?;
        endpoints.push(Endpoint {
            way,
            address: reader.text(ADDRESS_BYTES_MAX)?.to_owned(),
            key_id,
            weight,
        });
    }
    Ok(endpoints)
}

/// Unbounded: too many of something is a refusal of its own.
fn read_count(reader: &mut Reader<'_>) -> Result<usize, EncodingError> {
    reader.count(u32::MAX as usize)
}

fn unknown(what: &'static str, value: u8) -> EncodingError {
    EncodingError::Unknown {
        what,
        value: u64::from(value),
    }
}
