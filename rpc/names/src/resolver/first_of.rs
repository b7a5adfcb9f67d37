//! Several sources of records, asked in turn.

use std::fmt;
use std::sync::Arc;

use sealmoot_rpc::binding::{Name, Resolution, ResolveError, Resolver, VerifiedRecord};

/// Asks one resolver after the other, until one has a record.
///
/// Put the one first that is most likely to have the newest: the answers are not
/// compared. Each should have a timeout of its own, such that all of them together
/// stay within the patience of whoever asks.
pub struct FirstOf(Vec<Arc<dyn Resolver>>);

impl FirstOf {
    /// Asks these, in this order.
    #[must_use]
    pub fn new(resolvers: Vec<Arc<dyn Resolver>>) -> Self {
        Self(resolvers)
    }

    async fn ask(&self, name: &Name) -> Result<Arc<VerifiedRecord>, ResolveError> {
        let mut told = ResolveError::Unavailable("there is no resolver to ask".to_owned());
        let mut is_first = true;
        for resolver in &self.0 {
            let error = match resolver.resolve(name).await {
                Ok(record) => return Ok(record),
                Err(error) => error,
            };
            if is_first || weight(&error) > weight(&told) {
                told = error;
            }
            is_first = false;
        }
        Err(told)
    }
}

/// How much an error tells. Somebody who lies, or is out of date, must not hide
/// behind others that know nothing; and one who knows that there is nothing says
/// more than one who cannot be asked.
fn weight(error: &ResolveError) -> u8 {
    match error {
        ResolveError::Record(_) => 2,
        ResolveError::NotFound(_) => 1,
        _ => 0,
    }
}

impl Resolver for FirstOf {
    fn resolve<'a>(&'a self, name: &'a Name) -> Resolution<'a> {
        Box::pin(self.ask(name))
    }
}

impl fmt::Debug for FirstOf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FirstOf")
            .field("resolvers", &self.0.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
