//! Keeping a name alive.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::binding::record::{Claim, VerifiedRecord};
use sealmoot_rpc::binding::{Endpoint, Name, NameRecord, RecordError, unix_ms};
use sealmoot_rpc::pause::random;
use sealmoot_rpc::{Caller, Code, Status};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::limits::{PUBLISH_TIMEOUT, VALIDITY_MAX, VALIDITY_MIN};
use crate::proto::{NamesClient, PublishRequest, ResolveRequest};

pub mod renewal;

use renewal::{Moment, Outcome, Renewal, Step};

/// Signs the record of one name, publishes it at name services, and does so again
/// after each third of its validity, until this is dropped.
///
/// A service that does not take it is asked again, ever less often, up to the next
/// renewal; the others do not wait for it.
///
/// Nothing takes a record back: a name ends when the time of its last record is
/// over, because a record without an endpoint is none. Whoever goes for good calls
/// [`Publisher::withdraw`], or drops this, and the name ends within the validity.
#[derive(Debug)]
pub struct Publisher {
    signer: Arc<SigningKey>,
    /// Dropping it ends the task.
    template: watch::Sender<NameRecord>,
    standing: watch::Receiver<Standing>,
}

/// Why a publisher was not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublisherError {
    /// Nobody would take the record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The validity is not from [`VALIDITY_MIN`] to [`VALIDITY_MAX`].
    #[error("a validity of {0:?} is not from {VALIDITY_MIN:?} to {VALIDITY_MAX:?}")]
    Validity(Duration),
    /// There is no name service to publish at.
    #[error("no name service to publish at")]
    NoService,
}

/// How far publishing has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The serial of the newest record; none has been signed yet.
    pub serial: Option<u64>,
    /// By name service, in the order in which they were given.
    pub services: Vec<ServiceStanding>,
}

/// How one name service stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceStanding {
    /// The serial of the last record that it took.
    pub taken: Option<u64>,
    /// Why it did not take the newest, if it was asked and did not.
    pub failure: Option<Status>,
}

impl Standing {
    /// Whether every service has taken the newest record.
    #[must_use]
    pub fn is_published(&self) -> bool {
        let is_taken = |service: &ServiceStanding| service.taken == self.serial;
        self.serial.is_some() && self.services.iter().all(is_taken)
    }
}

impl Publisher {
    /// Starts publishing on the current tokio runtime. `record` says what; its
    /// serial and validity are this publisher's to give: each record counts for
    /// `validity`, and its serial is the time of its signing in milliseconds since
    /// 1970, or one more than the last where that is more.
    ///
    /// # Errors
    ///
    /// [`PublisherError`].
    pub fn start<C: Caller + 'static>(
        signer: SigningKey,
        record: NameRecord,
        validity: Duration,
        services: Vec<C>,
    ) -> Result<Self, PublisherError> {
        if !(VALIDITY_MIN..=VALIDITY_MAX).contains(&validity) {
            return Err(PublisherError::Validity(validity));
        }
        if services.is_empty() {
            return Err(PublisherError::NoService);
        }
        record.clone().sign(&signer)?;
        let signer = Arc::new(signer);
        let services: Vec<_> = services
            .into_iter()
            .map(|caller| Arc::new(NamesClient::new(caller)))
            .collect();
        let (standing, watched) = watch::channel(Standing {
            serial: None,
            services: vec![ServiceStanding::default(); services.len()],
        });
        let (template, templates) = watch::channel(record);
        let publishing = Publishing {
            signer: Arc::clone(&signer),
            renewal: Renewal::new(services.len(), validity),
            services,
            record: None,
            attempts: JoinSet::new(),
            standing,
        };
        tokio::spawn(publishing.run(templates));
        Ok(Self {
            signer,
            template,
            standing: watched,
        })
    }

    /// The name is served at these endpoints from now on: signs and publishes at
    /// once.
    ///
    /// # Errors
    ///
    /// [`RecordError`] when nobody would take such a record; then the old one stays.
    pub fn update(&self, endpoints: Vec<Endpoint>) -> Result<(), RecordError> {
        let record = NameRecord {
            endpoints,
            ..self.template.borrow().clone()
        };
        // What the task signs later, it can sign.
        record.clone().sign(&self.signer)?;
        self.template.send_replace(record);
        Ok(())
    }

    /// How far publishing has come, now and later.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Stops renewing, as dropping does. The last record counts until its time is
    /// over.
    pub fn withdraw(self) {}
}

/// What the task has.
struct Publishing<C> {
    signer: Arc<SigningKey>,
    services: Vec<Arc<NamesClient<C>>>,
    renewal: Renewal,
    record: Option<VerifiedRecord>,
    attempts: JoinSet<Attempt>,
    standing: watch::Sender<Standing>,
}

struct Attempt {
    service: usize,
    serial: u64,
    outcome: Result<(), Status>,
    /// Of a newer record that the service was found to have.
    floor: Option<u64>,
}

impl<C: Caller + 'static> Publishing<C> {
    async fn run(mut self, mut templates: watch::Receiver<NameRecord>) {
        loop {
            match self.renewal.step(moment()) {
                Step::Sign {
                    serial,
                    valid_until_ms,
                } => {
                    let record = NameRecord {
                        serial,
                        valid_until_ms,
                        ..templates.borrow_and_update().clone()
                    };
                    self.sign(record);
                }
                Step::Publish { service, serial } => self.publish(service, serial),
                Step::Wait { until } => {
                    tokio::select! {
                        Some(attempt) = self.attempts.join_next() => {
                            // An error is one that was aborted: its record is out of
                            // date.
                            if let Ok(attempt) = attempt {
                                self.ended(attempt);
                            }
                        }
                        changed = templates.changed() => match changed {
                            Ok(()) => self.renewal.renew(),
                            // The publisher was dropped. So are its attempts.
                            Err(_) => return,
                        },
                        () = sleep_until(until.into()) => {}
                    }
                }
            }
        }
    }

    fn sign(&mut self, record: NameRecord) {
        let serial = record.serial;
        let signed = record.sign(&self.signer);
        self.record = Some(signed.expect("such a record was signed when it was given"));
        // Those under way carry an older one. Where one of them is still taken, it
        // is replaced; where it comes late, it is refused.
        self.attempts.abort_all();
        self.standing.send_modify(|standing| {
            standing.serial = Some(serial);
            for service in &mut standing.services {
                service.failure = None;
            }
        });
    }

    fn publish(&mut self, service: usize, serial: u64) {
        let Some(record) = self.record.clone() else {
            return;
        };
        let client = Arc::clone(&self.services[service]);
        self.attempts.spawn(async move {
            let request = PublishRequest {
                record: record.bytes().clone(),
            };
            let outcome = client.publish(request, PUBLISH_TIMEOUT).await.map(drop);
            let is_behind = outcome
                .as_ref()
                .is_err_and(|status| matches!(status.code(), Code::Aborted | Code::AlreadyExists));
            let floor = match is_behind {
                true => serial_at(&client, &record).await,
                false => None,
            };
            Attempt {
                service,
                serial,
                outcome,
                floor,
            }
        });
    }

    fn ended(&mut self, attempt: Attempt) {
        let Attempt {
            service,
            serial,
            outcome,
            floor,
        } = attempt;
        let end = match (&outcome, floor) {
            (Ok(()), _) => Outcome::Taken,
            (Err(_), Some(floor)) => Outcome::Behind { floor },
            (Err(_), None) => Outcome::Failed,
        };
        let now = moment();
        if !self
            .renewal
            .ended(service, serial, end, now.instant, random())
        {
            return;
        }
        self.standing.send_modify(|standing| {
            let of_service = &mut standing.services[service];
            match outcome {
                Ok(()) => {
                    of_service.taken = Some(serial);
                    of_service.failure = None;
                }
                Err(status) => of_service.failure = Some(status),
            }
        });
    }
}

/// The serial of the record that a service has of the same name, if the same key
/// signed it. A number that the service merely says would let it drive the serials
/// of all services up to their end.
async fn serial_at<C: Caller>(client: &NamesClient<C>, own: &VerifiedRecord) -> Option<u64> {
    let name: &Name = &own.record().name;
    let request = ResolveRequest {
        name: name.to_string(),
    };
    let reply = client.resolve(request, PUBLISH_TIMEOUT).await.ok()?;
    let claim = Claim::decode(&reply.record).ok()?;
    let theirs = claim.believe(name, &[own.signer()], unix_ms(), 0).ok()?;
    // One that refuses a record and shows it is broken; a higher serial would not
    // mend it.
    (theirs != *own).then_some(theirs.record().serial)
}

fn moment() -> Moment {
    Moment {
        instant: Instant::now().into_std(),
        unix_ms: unix_ms(),
    }
}

impl<C> fmt::Debug for Publishing<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Publishing")
            .field("renewal", &self.renewal)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
