//! The node's side of a second factor: behind the proof of the password.

use sealmoot_rpc::{Code, Execution, Replies, Requests, Status};
use tokio::time::{Instant, timeout_at};

use super::service::{LoginService, Proved, send};
use super::{CODE_TRIES, CODES_WITHIN};
use crate::audit::Attempt;
use crate::name::Name;
use crate::proto::log_in_reply::Step as ReplyStep;
use crate::proto::log_in_request::Step as RequestStep;
use crate::proto::{LogInCodeNeeded, LogInReply, LogInRequest};
use crate::second_factor::{CodeError, Proven, SealedSecondFactor, SecondFactor};
use crate::statement::CredentialId;
use crate::throttle::Begun;

impl LoginService {
    /// Asks for codes until one is right, and uses it up. Returns whose code it was.
    ///
    /// # Errors
    /// One refusal, whatever was wrong with the last code, or the machine's own trouble.
    pub(super) async fn codes(
        &self,
        sealed: &SealedSecondFactor,
        proved: &Proved,
        begun: &mut Begun,
        requests: &mut Requests<LogInRequest>,
        replies: &mut Replies<LogInReply>,
        attempt: &Attempt,
    ) -> Result<CredentialId, Status> {
        // One that does not open keeps the user out: to go on without it would let
        // whoever damages it in.
        let factor = SecondFactor::open(&self.secrets, &self.realm, &proved.user, sealed)
            .map_err(|error| Status::new(Code::Internal, Execution::Executed, error.to_string()))?;
        let deadline = Instant::now() + CODES_WITHIN;
        for tries_left in (1..=CODE_TRIES).rev() {
            send(
                replies,
                ReplyStep::CodeNeeded(LogInCodeNeeded { tries_left }),
            )
            .await?;
            let request = timeout_at(deadline, requests.next()).await;
            let Ok(Ok(Some(LogInRequest {
                step: Some(RequestStep::Code(code)),
            }))) = request
            else {
                return Err(refused());
            };
            if self.judge_code(&factor, &code.code, begun, attempt).await? {
                return Ok(factor.id());
            }
        }
        Err(refused())
    }

    /// Whether the code counts; if it does, it counts no longer.
    async fn judge_code(
        &self,
        factor: &SecondFactor,
        typed: &[u8],
        begun: &mut Begun,
        attempt: &Attempt,
    ) -> Result<bool, Status> {
        // Charged before anybody looks at it, and audited whatever comes of it.
        self.throttle.begin_code(begun, factor.id()).await?;
        let event = attempt.code()?;
        match self.throttle.take_code(begun, factor, typed).await? {
            Ok((Proven::Step(_), _)) => event.taken("by the clock".to_owned()).await?,
            Ok((Proven::Recovery(_), used)) => {
                let left = used.recovery_codes_left();
                event.taken(format!("a recovery code, {left} left")).await?;
            }
            Err(error) => {
                event.refused(error.to_string()).await?;
                if error == CodeError::NoRoom {
                    return Err(Status::new(
                        Code::Unavailable,
                        Execution::Executed,
                        error.to_string(),
                    ));
                }
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// All that a client is told of its codes, whatever was wrong with them. It has proved
/// the password, so it may know that this is not what is wrong.
pub(super) fn refused() -> Status {
    Status::new(
        Code::Unauthenticated,
        Execution::Executed,
        "the code was not accepted",
    )
}

/// What a client is told, behind the proof of the password, that could give no code.
pub(super) fn not_enrolled(role: &Name) -> Status {
    Status::new(
        Code::FailedPrecondition,
        Execution::Executed,
        format!("role {role} needs a second factor, and none is enrolled"),
    )
}
