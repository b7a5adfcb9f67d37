//! What a server says that it serves, checked.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use crate::binding::{Fingerprint, is_service};
use crate::builtin::{ServiceSummary, ServicesReply};
use crate::descriptor::ServiceDescriptor;
use crate::limits::reflection::{EARLIER_MAX, SERVICES_BYTES_MAX, SERVICES_MAX};

/// The schemas of a server's services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedSchemas {
    by_service: BTreeMap<String, ServedSchema>,
}

/// The schemas of one service: the present one, and those whose clients are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedSchema {
    /// Of the schema that is served.
    pub fingerprint: Fingerprint,
    /// Of the former ones.
    pub earlier: Vec<Fingerprint>,
}

impl ServedSchemas {
    /// The schemas of a service, by full name.
    #[must_use]
    pub fn of(&self, service: &str) -> Option<&ServedSchema> {
        self.by_service.get(service)
    }

    /// All services with their schemas, by full name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ServedSchema)> {
        self.by_service
            .iter()
            .map(|(service, schema)| (service.as_str(), schema))
    }

    /// Whether a client with the schema of `wanted` gets along with the server: one
    /// of the two has checked the schema of the other.
    ///
    /// # Errors
    ///
    /// The service is not there, or with a schema that neither knows of.
    pub fn check(&self, wanted: &ServiceDescriptor) -> Result<(), SchemaMismatch> {
        let Some(served) = self.of(wanted.name) else {
            return Err(SchemaMismatch::Missing {
                service: wanted.name.to_owned(),
            });
        };
        if wanted.accepts(&served.fingerprint) || served.earlier.contains(&wanted.fingerprint) {
            return Ok(());
        }
        Err(SchemaMismatch::Other {
            service: wanted.name.to_owned(),
            found: served.fingerprint,
        })
    }

    /// Reads an answer, and believes one that makes sense. No byte of one that is
    /// too long is looked at.
    pub(crate) fn decode(reply: Bytes) -> Result<Self, MalformedServices> {
        let length = reply.len();
        if length > SERVICES_BYTES_MAX {
            return Err(MalformedServices::TooLong { length });
        }
        let reply = ServicesReply::decode(reply).map_err(MalformedServices::Undecodable)?;
        Self::from_reply(reply)
    }

    fn from_reply(reply: ServicesReply) -> Result<Self, MalformedServices> {
        let count = reply.services.len();
        if count > SERVICES_MAX {
            return Err(MalformedServices::TooManyServices { count });
        }
        let mut by_service = BTreeMap::new();
        for summary in reply.services {
            let (service, schema) = read(summary)?;
            if by_service.contains_key(&service) {
                return Err(MalformedServices::ServiceTwice { service });
            }
            by_service.insert(service, schema);
        }
        Ok(Self { by_service })
    }
}

fn read(summary: ServiceSummary) -> Result<(String, ServedSchema), MalformedServices> {
    let service = summary.name;
    if !is_service(&service) {
        return Err(MalformedServices::ServiceName);
    }
    let count = summary.earlier.len();
    if count > EARLIER_MAX {
        return Err(MalformedServices::TooManyEarlier { service, count });
    }
    let fingerprint = |bytes: &Bytes| match <[u8; 32]>::try_from(&bytes[..]) {
        Ok(bytes) => Ok(Fingerprint::from_bytes(bytes)),
        Err(_) => Err(MalformedServices::FingerprintLength {
            service: service.clone(),
            length: bytes.len(),
        }),
    };
    let schema = ServedSchema {
        fingerprint: fingerprint(&summary.fingerprint)?,
        earlier: summary
            .earlier
            .iter()
            .map(fingerprint)
            .collect::<Result<_, _>>()?,
    };
    Ok((service, schema))
}

/// Why a client does not call a service: both would mean other things by the same
/// bytes, as far as anybody has checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaMismatch {
    /// The service is not served, or without a schema.
    #[error("{service} is not served there")]
    Missing {
        /// Its full name.
        service: String,
    },
    /// It is served with a schema that neither side knows of the other.
    #[error("{service} is served there with another schema, {found}")]
    Other {
        /// Its full name.
        service: String,
        /// The server's.
        found: Fingerprint,
    },
}

/// Why a list of services is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedServices {
    /// More bytes than the longest list has.
    #[error("{length} bytes are more than {SERVICES_BYTES_MAX}")]
    TooLong {
        /// How many.
        length: usize,
    },
    /// The bytes are no such message.
    #[error("it does not decode: {0}")]
    Undecodable(prost::DecodeError),
    /// More services than [`SERVICES_MAX`].
    #[error("{count} services are more than {SERVICES_MAX}")]
    TooManyServices {
        /// How many.
        count: usize,
    },
    /// A name is not `package.Service`, or too long.
    #[error("the name of a service is malformed")]
    ServiceName,
    /// More earlier schemas than [`EARLIER_MAX`].
    #[error("{count} earlier schemas of {service} are more than {EARLIER_MAX}")]
    TooManyEarlier {
        /// Of which service.
        service: String,
        /// How many.
        count: usize,
    },
    /// A fingerprint has not 32 bytes.
    #[error("a fingerprint of {service} has {length} bytes")]
    FingerprintLength {
        /// Of which service.
        service: String,
        /// How many.
        length: usize,
    },
    /// Two entries are about one service, and nobody can tell which counts.
    #[error("{service} is there twice")]
    ServiceTwice {
        /// Its full name.
        service: String,
    },
}

#[cfg(test)]
mod tests;
