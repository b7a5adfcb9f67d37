//! How nodes come in: the call that invites them and the requests that answer.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::VerifyingKey;

use super::{Body, read_key, read_name};
use crate::name::Name;

/// Most nodes that one call invites.
pub const NODES_MAX: usize = 32;
const ADDRESS_LENGTH_MAX: usize = 255;

/// Kind *invite*: the root calls these nodes together; each may enrol once, with
/// the one-time key that its invite file carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Tells calls of one realm apart.
    pub id: [u8; 16],
    /// The realm's name, for people.
    pub realm_name: Name,
    /// Until when nodes may enrol, in milliseconds since 1970.
    pub expires_ms: u64,
    /// Who is called.
    pub members: Vec<CallMember>,
}

/// One node of a [`Call`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallMember {
    /// Its name.
    pub name: Name,
    /// Where it will listen, `host:port`.
    pub address: String,
    /// The public half of the one-time key in its invite.
    pub invite_key: VerifyingKey,
}

impl Body for Call {
    const KIND: u8 = 1;
    const DOMAIN: &'static str = "statement/invite";

    fn encode(&self, writer: &mut Writer) {
        writer.fixed(&self.id);
        writer.text(self.realm_name.as_str());
        writer.u64(self.expires_ms);
        writer.count(self.members.len());
        for member in &self.members {
            writer.text(member.name.as_str());
            writer.text(&member.address);
            writer.fixed(&member.invite_key.to_bytes());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        let id = reader.array()?;
        let realm_name = read_name(reader)?;
        let expires_ms = reader.u64()?;
        let count = reader.count(NODES_MAX)?;
        let mut members: Vec<CallMember> = Vec::with_capacity(count);
        for _ in 0..count {
            let member = CallMember {
                name: read_name(reader)?,
                address: read_address(reader)?,
                invite_key: read_key(reader)?,
            };
            let twice = members.iter().any(|other| {
                other.name == member.name
                    || other.address == member.address
                    || other.invite_key == member.invite_key
            });
            if twice {
                return Err(EncodingError::Invalid(
                    "a name, an address or a key stands twice in the call",
                ));
            }
            members.push(member);
        }
        if members.is_empty() {
            return Err(EncodingError::Invalid("the call names no node"));
        }
        Ok(Self {
            id,
            realm_name,
            expires_ms,
            members,
        })
    }
}

/// Kind *node*: an invite's key asks that this node key be enrolled under the
/// invite's name. It is a request, not yet an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The call that is answered.
    pub call_id: [u8; 16],
    /// The invited name.
    pub name: Name,
    /// The key that the node made where it runs.
    pub node_key: VerifyingKey,
}

impl Body for Enrolment {
    const KIND: u8 = 2;
    const DOMAIN: &'static str = "statement/node";

    fn encode(&self, writer: &mut Writer) {
        writer.fixed(&self.call_id);
        writer.text(self.name.as_str());
        writer.fixed(&self.node_key.to_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        Ok(Self {
            call_id: reader.array()?,
            name: read_name(reader)?,
            node_key: read_key(reader)?,
        })
    }
}

/// Whether `text` is `host:port`.
///
/// # Errors
/// [`EncodingError::Invalid`] when it is not.
pub fn check_address(text: &str) -> Result<(), EncodingError> {
    let valid = text.len() <= ADDRESS_LENGTH_MAX
        && text.rsplit_once(':').is_some_and(|(host, port)| {
            is_host(host)
                && port.parse::<u16>().is_ok_and(|port| port != 0)
                && !port.starts_with('+')
        });
    if valid {
        Ok(())
    } else {
        Err(EncodingError::Invalid("an address is not HOST:PORT"))
    }
}

/// A name, an IPv4 address or an IPv6 address in brackets; without brackets
/// nobody can tell its last group from a port.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        }
    }
}

fn read_address(reader: &mut Reader<'_>) -> Result<String, EncodingError> {
    let text = reader.text(ADDRESS_LENGTH_MAX)?;
    check_address(text)?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for good in ["127.0.0.1:7401", "n1.example:1", "[::1]:65535"] {
            assert!(check_address(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ":1",
            "x",
            "x:",
            "x:0",
            "x:65536",
            "x:+1",
            "a b:1",
            "x\n:1",
            "::1",
            "fe80::1:7401",
            "[::1]",
            "[x]:1",
            "[::1:1",
            "x]:1",
            "a:1:1",
        ] {
            assert!(check_address(bad).is_err(), "{bad:?}");
        }
    }
}
