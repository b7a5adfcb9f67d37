//! One login as the audit log sees it: however it ends, there is one event.

use sealmoot_rpc::{Code, Execution, Peer, Status};

use super::event::{Event, Outcome, Subject, What, Who};
use super::queue::{AuditRefused, Auditor, Place};

/// A login that has begun. When it is dropped without an outcome, the client went away
/// without a word: so may one that guesses, because the client is the first to know that
/// a password is wrong. An honest client says that it gives up, which is a refusal.
pub struct Attempt {
    open: Option<(Auditor, Place)>,
    who: Who,
    subject: Option<Subject>,
    /// What the event says if the login does not succeed.
    detail: String,
    now_ms: fn() -> u64,
}

/// A code that is to be judged in a login, with a place for its event. Dropped without
/// an outcome it leaves none.
pub struct CodeAttempt<'a> {
    attempt: &'a Attempt,
    place: Option<Place>,
}

impl Attempt {
    /// Begins, with a place for the event. Without an auditor nothing is recorded.
    ///
    /// # Errors
    /// `Unavailable`: a login that cannot be audited is refused before it begins.
    pub fn begin(
        auditor: Option<&Auditor>,
        peer: &Peer,
        now_ms: fn() -> u64,
    ) -> Result<Self, Status> {
        let open = match auditor {
            Some(auditor) => {
                let place = auditor.place().map_err(unavailable)?;
                Some((auditor.clone(), place))
            }
            None => None,
        };
        Ok(Self {
            open,
            who: Who::Peer {
                key: peer.key_id(),
                origin: peer.origin().to_string(),
                user: None,
            },
            subject: None,
            detail: String::new(),
            now_ms,
        })
    }

    /// Whose name was given, and who that is. The work is the same whether there is
    /// such a user or not.
    pub fn named(&mut self, typed: &str, known: Option<crate::name::Name>) {
        if let Some((auditor, _)) = &self.open {
            let unknown = auditor.unknown_name(typed.as_bytes());
            self.subject = Some(known.map_or(unknown, Subject::User));
        }
    }

    /// What the event is to say if the login does not succeed.
    pub fn because(&mut self, detail: impl Into<String>) {
        self.detail = detail.into();
    }

    /// Takes a place for the event of a code, before the code is judged.
    ///
    /// # Errors
    /// `Unavailable`: a code that cannot be audited is refused before it is looked at.
    pub fn code(&self) -> Result<CodeAttempt<'_>, Status> {
        let place = match &self.open {
            Some((auditor, _)) => Some(auditor.place().map_err(unavailable)?),
            None => None,
        };
        Ok(CodeAttempt {
            attempt: self,
            place,
        })
    }

    /// Records that the user logged in, before the answer may leave.
    ///
    /// # Errors
    /// `Unavailable`, and the answer must not leave.
    pub async fn succeeded(&mut self) -> Result<(), Status> {
        self.ended(Outcome::Done).await
    }

    /// Records that the login was refused, before the refusal leaves.
    ///
    /// # Errors
    /// `Unavailable`, which is answered in place of the refusal.
    pub async fn refused(&mut self) -> Result<(), Status> {
        self.ended(Outcome::Refused).await
    }

    async fn ended(&mut self, outcome: Outcome) -> Result<(), Status> {
        let Some((_, place)) = self.open.take() else {
            return Ok(());
        };
        let mut event = self.event(What::Login);
        event.outcome = outcome;
        if outcome != Outcome::Done {
            event = event.detail(std::mem::take(&mut self.detail));
        }
        place.record(event).await.map_err(unavailable)
    }

    fn event(&self, what: What) -> Event {
        let subject = self.subject.clone().unwrap_or(Subject::Nothing);
        Event::done((self.now_ms)(), what, self.who.clone(), subject)
    }
}

impl CodeAttempt<'_> {
    /// Records that the code was taken, before anything follows from it.
    ///
    /// # Errors
    /// `Unavailable`, and nothing may follow from it.
    pub async fn taken(self, detail: String) -> Result<(), Status> {
        self.ended(Outcome::Done, detail).await
    }

    /// Records that the code was refused, before the refusal leaves.
    ///
    /// # Errors
    /// `Unavailable`, which is answered in place of the refusal.
    pub async fn refused(self, detail: String) -> Result<(), Status> {
        self.ended(Outcome::Refused, detail).await
    }

    async fn ended(self, outcome: Outcome, detail: String) -> Result<(), Status> {
        let Some(place) = self.place else {
            return Ok(());
        };
        let mut event = self.attempt.event(What::Code).detail(detail);
        event.outcome = outcome;
        place.record(event).await.map_err(unavailable)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Whoever named nobody asked for nothing.
        if self.subject.is_some()
            && let Some((_, place)) = self.open.take()
        {
            let event = self.event(What::LoginAbandoned).refused();
            place.note(event.detail(std::mem::take(&mut self.detail)));
        }
    }
}

/// What a client is told. Nothing was done, so it may ask another node.
fn unavailable(refused: AuditRefused) -> Status {
    let code = match refused {
        AuditRefused::Busy => Code::ResourceExhausted,
        AuditRefused::NoRoom | AuditRefused::Failed => Code::Unavailable,
    };
    Status::new(code, Execution::NotStarted, refused.to_string())
}
