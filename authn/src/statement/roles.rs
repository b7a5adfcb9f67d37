//! What the realm's roles stand for.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use super::{Body, read_name};
use crate::policy::{GRANTS_MAX, Grant, NAMED_ROLES_MAX, NamedRoles, PATTERN_LENGTH_MAX};

const GRANT_LENGTH_MAX: usize = PATTERN_LENGTH_MAX + 8;

/// Kind *roles*: the root says what each named role grants, all of them in one
/// statement. Of two the higher version holds.
///
/// ```text
/// version u64 | count | each: name, whether a second factor is needed, count, grants
/// ```
///
/// Names are in ascending order, and so are the patterns of a role's grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// Rises with every change of any role.
    pub version: u64,
    /// What the names stand for.
    pub roles: NamedRoles,
}

impl Body for Roles {
    const KIND: u8 = 7;
    const DOMAIN: &'static str = "statement/roles";
    // Version 1 knew no second factor.
    const VERSION: u8 = 2;

    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.version);
        writer.count(self.roles.iter().len());
        for (name, grants) in self.roles.iter() {
            writer.text(name.as_str());
            writer.flag(self.roles.needs_second_factor(name));
            writer.count(grants.len());
            for grant in grants {
                writer.text(&grant.to_string());
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        let version = reader.u64()?;
        let mut roles = NamedRoles::default();
        let mut last = None;
        for _ in 0..reader.count(NAMED_ROLES_MAX)? {
            let name = read_name(reader)?;
            if last.is_some_and(|last| last >= name) {
                return Err(EncodingError::Invalid("roles are out of order"));
            }
            let needs_second_factor = reader.flag()?;
            let grants = read_grants(reader)?;
            roles
                .add(name.clone(), grants)
                .and_then(|()| roles.need_second_factor(&name, needs_second_factor))
                .map_err(|_| EncodingError::Invalid("a role is not admitted"))?;
            last = Some(name);
        }
        Ok(Self { version, roles })
    }
}

fn read_grants(reader: &mut Reader<'_>) -> Result<Vec<Grant>, EncodingError> {
    let count = reader.count(GRANTS_MAX)?;
    let mut grants: Vec<Grant> = Vec::with_capacity(count);
    for _ in 0..count {
        let text = reader.text(GRANT_LENGTH_MAX)?;
        let grant: Grant = text
            .parse()
            .map_err(|_| EncodingError::Invalid("a grant is malformed"))?;
        if grant.to_string() != text {
            return Err(EncodingError::Invalid("a grant is not in its one form"));
        }
        if grants
            .last()
            .is_some_and(|last| last.pattern() >= grant.pattern())
        {
            return Err(EncodingError::Invalid("grants are out of order"));
        }
        grants.push(grant);
    }
    Ok(grants)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::NAMED_ROLES_BYTES_MAX;
    use crate::statement::BODY_LENGTH_MAX;

    fn decode(bytes: &[u8]) -> Result<Roles, EncodingError> {
        let mut reader = Reader::new(bytes);
        let roles = Roles::decode(&mut reader)?;
        reader.finish()?;
        Ok(roles)
    }

    fn encoded(roles: &[(&str, &[&str])]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u64(3);
        writer.count(roles.len());
        for (name, grants) in roles {
            writer.text(name);
            writer.flag(false);
            writer.count(grants.len());
            for grant in *grants {
                writer.text(grant);
            }
        }
        writer.finish()
    }

    #[test]
    fn roles_survive_their_bytes_and_no_truncation_does() {
        let bytes = encoded(&[("dev", &[]), ("ops", &["app/*:rw", "log/x:r"])]);
        let roles = decode(&bytes).expect("valid");
        assert_eq!(roles.version, 3);
        let mut writer = Writer::new();
        roles.encode(&mut writer);
        assert_eq!(writer.finish(), bytes);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_need_for_a_second_factor_survives_its_bytes() {
        let mut roles = decode(&encoded(&[("dev", &[]), ("ops", &[])])).expect("valid");
        let ops = "ops".parse().expect("a name");
        roles.roles.need_second_factor(&ops, true).expect("a role");
        let mut writer = Writer::new();
        roles.encode(&mut writer);
        let mut bytes = writer.finish();
        assert_eq!(decode(&bytes), Ok(roles));
        // The flag of ops stands in front of the count of its grants.
        let at = bytes.len() - 5;
        bytes[at] = 2;
        assert!(decode(&bytes).is_err());
    }

    #[test]
    fn what_is_not_in_its_one_form_is_refused_by_name() {
        let many_grants: Vec<String> = (0..=GRANTS_MAX).map(|at| format!("k{at:03}:r")).collect();
        let many_grants: Vec<&str> = many_grants.iter().map(String::as_str).collect();
        let invalid = |roles: &[(&str, &[&str])], what: &str| {
            let refused = decode(&encoded(roles)).expect_err(what);
            assert!(refused.to_string().contains(what), "{refused}");
        };
        invalid(&[("ops", &[]), ("dev", &[])], "roles are out of order");
        invalid(&[("ops", &[]), ("ops", &[])], "roles are out of order");
        invalid(&[("admin", &[])], "a role is not admitted");
        invalid(&[("Ops", &[])], "a name is malformed");
        invalid(&[("ops", &["app/*:rx"])], "a grant is malformed");
        invalid(&[("ops", &["other"])], "a grant is malformed");
        invalid(&[("ops", &["system/*:r"])], "a grant is malformed");
        invalid(&[("ops", &["app/*:wr"])], "a grant is not in its one form");
        invalid(&[("ops", &["b:r", "a:r"])], "grants are out of order");
        invalid(&[("ops", &["a:r", "a:w"])], "grants are out of order");
        invalid(&[("ops", &many_grants)], "above the maximum");
    }

    #[test]
    fn the_largest_roles_fit_a_statement() {
        let mut roles = NamedRoles::default();
        let mut index = 0;
        let mut step = 3000;
        while step > 0 {
            let name = format!("r{index}").parse().expect("a name");
            let grant = format!("{}:r", "k".repeat(step)).parse().expect("a grant");
            match roles.add(name, vec![grant]) {
                Ok(()) => index += 1,
                Err(_) => step /= 2,
            }
        }
        let mut writer = Writer::new();
        Roles { version: 1, roles }.encode(&mut writer);
        let length = writer.finish().len();
        assert!(length <= BODY_LENGTH_MAX);
        assert!(length > NAMED_ROLES_BYTES_MAX - 32, "{length}");
    }
}
