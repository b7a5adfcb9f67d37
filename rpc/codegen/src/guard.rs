//! Why a method may be called again.

use std::collections::HashMap;

use protox::prost_reflect::{DescriptorPool, MethodDescriptor, Value};

use crate::error::Error;
use crate::options::AT_MOST_ONCE;

/// What a method's options say; see `sealmoot_rpc::Guard`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Guard {
    #[default]
    Unknown,
    NoSideEffects,
    Idempotent,
    Once,
}

impl Guard {
    /// The expression of it.
    pub(crate) fn expression(self) -> String {
        let level = match self {
            Self::Once => return "::sealmoot_rpc::Guard::Once".to_owned(),
            Self::Unknown => "Unknown",
            Self::NoSideEffects => "NoSideEffects",
            Self::Idempotent => "Idempotent",
        };
        format!("::sealmoot_rpc::Guard::Method(::sealmoot_rpc::Idempotency::{level})")
    }

    /// The name of it in `sealmoot_rpc.Guard` of the Python package.
    pub(crate) fn python_name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::NoSideEffects => "NO_SIDE_EFFECTS",
            Self::Idempotent => "IDEMPOTENT",
            Self::Once => "ONCE",
        }
    }
}

/// Of every method whose options say something, by `package.Service/Method`.
#[derive(Debug, Default)]
pub(crate) struct Guards(HashMap<String, Guard>);

impl Guards {
    /// Of the methods of all services of `pool`.
    pub(crate) fn of_all(pool: &DescriptorPool) -> Result<Self, Error> {
        let mut guards = HashMap::new();
        for service in pool.services() {
            for method in service.methods() {
                let path = path_of(&method);
                let guard = guard(pool, &method, &path)?;
                if guard != Guard::Unknown {
                    guards.insert(path, guard);
                }
            }
        }
        Ok(Self(guards))
    }

    /// Of a method.
    pub(crate) fn of(&self, method: &MethodDescriptor) -> Guard {
        self.at(&path_of(method))
    }

    /// Of the method with this path.
    pub(crate) fn at(&self, path: &str) -> Guard {
        self.0.get(path).copied().unwrap_or_default()
    }
}

/// As `package.Service/Method`.
pub(crate) fn path_of(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

fn guard(pool: &DescriptorPool, method: &MethodDescriptor, path: &str) -> Result<Guard, Error> {
    let options = method.options();
    let level = options
        .get_field_by_name("idempotency_level")
        .and_then(|level| level.as_enum_number());
    let level = match level {
        Some(1) => Guard::NoSideEffects,
        Some(2) => Guard::Idempotent,
        _ => Guard::Unknown,
    };
    // Absent when no schema imports it.
    let is_once = pool
        .get_extension_by_name(AT_MOST_ONCE)
        .is_some_and(|option| *options.get_extension(&option) == Value::Bool(true));
    if !is_once {
        return Ok(level);
    }
    let method_path = path.to_owned();
    if level != Guard::Unknown {
        return Err(Error::TwoGuards {
            method: method_path,
        });
    }
    if method.is_client_streaming() || method.is_server_streaming() {
        return Err(Error::StreamOnce {
            method: method_path,
        });
    }
    Ok(Guard::Once)
}
