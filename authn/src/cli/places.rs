//! Where files lie.

use std::env;
use std::path::PathBuf;

use etcetera::BaseStrategy;

use super::failure::{Code, Failure};

/// The directories of configuration and data.
#[derive(Debug, Clone)]
pub struct Places {
    /// Contexts, session keys and the root keys of nodes:
    /// `SEALMOOT_CONFIG_DIR`, else `~/.config/sealmoot`.
    pub config: PathBuf,
    /// Realms: `SEALMOOT_DATA_DIR`, else `~/.local/share/sealmoot`.
    pub data: PathBuf,
}

impl Places {
    /// Finds them.
    ///
    /// # Errors
    /// When there is neither a variable nor a home directory.
    pub fn find() -> Result<Self, Failure> {
        let base = etcetera::base_strategy::Xdg::new();
        let place = |variable: &str, below: fn(&etcetera::base_strategy::Xdg) -> PathBuf| match (
            env::var_os(variable),
            &base,
        ) {
            (Some(path), _) if !path.is_empty() => Ok(PathBuf::from(path)),
            (_, Ok(base)) => Ok(below(base).join("sealmoot")),
            (_, Err(error)) => Err(Failure::new(
                Code::Config,
                format!("no home directory: {error}"),
            )
            .hint(format!("set {variable}"))),
        };
        Ok(Self {
            config: place("SEALMOOT_CONFIG_DIR", BaseStrategy::config_dir)?,
            data: place("SEALMOOT_DATA_DIR", BaseStrategy::data_dir)?,
        })
    }

    /// Where the key of the node `name` lies unless told otherwise.
    #[must_use]
    pub fn node_key(&self, name: &str) -> PathBuf {
        self.config.join("nodes").join(format!("{name}.key"))
    }
}
