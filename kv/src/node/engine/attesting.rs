//! Asks the other members what they remember of this node before it votes, and tells
//! them from then on how far its log is.

use std::sync::Weak;
use std::time::{Duration, Instant};

use tracing::debug;

use super::{Attested, Engine, Fatal, Standing};
use crate::record::RefillStage;

/// How often members are asked until the node votes.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How long members beyond those that are needed are waited for: the one that
/// remembers most may be the last to be connected.
const ALL_WITHIN: Duration = Duration::from_millis(300);
/// How often a node that votes tells its peers how far its log is, when it has moved:
/// what it answers to itself, as its own coordinator, tells them nothing.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long a peer may take for one answer.
const PATIENCE: Duration = Duration::from_millis(800);

/// Runs as long as the engine.
pub(super) async fn attest(engine: Weak<Engine>) {
    let mut told: Vec<Option<Attested>> = Vec::new();
    let mut enough_since: Option<Instant> = None;
    loop {
        let Some(engine) = engine.upgrade() else {
            return;
        };
        if engine.refill_stage() == RefillStage::Unfenced
            && let Err(cause) = engine.fence_former_life().await
        {
            debug!(%cause, "the former life is not stopped yet");
            drop(engine);
            tokio::time::sleep(ASK_EVERY).await;
            continue;
        }
        engine.ask_members(&mut told).await;
        let standing = {
            let mut machines = engine.lock();
            if machines.admission.has_enough() {
                let since = *enough_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= ALL_WITHIN {
                    machines.admission.wait_no_longer();
                }
            }
            machines.admission.standing()
        };
        let pause = match standing {
            Standing::Behind { member, remembered } => {
                engine.on_rolled_back(member, remembered);
                return;
            }
            Standing::Waiting => ASK_EVERY,
            Standing::Admitted => TELL_EVERY,
        };
        drop(engine);
        tokio::time::sleep(pause).await;
    }
}

impl Engine {
    /// Asks all connected members at once that have not reported or not heard of the
    /// newest, and takes what they say.
    async fn ask_members(&self, told: &mut Vec<Option<Attested>>) {
        told.resize(self.links.members().len(), None);
        let mut asked = Vec::new();
        for (member, told) in told.iter().enumerate() {
            let own = self.attested_for(member);
            if member == self.me || *told == Some(own) {
                continue;
            }
            if let Ok(peer) = self.links.connection(member) {
                let answer = tokio::spawn(async move { peer.attest(own, PATIENCE).await });
                asked.push((member, own, answer));
            }
        }
        for (member, own, answer) in asked {
            // A member that does not answer is asked again.
            let Ok(Ok((remembered, position))) = answer.await else {
                continue;
            };
            told[member] = Some(own);
            let node = self.links.number(member);
            let mut machines = self.lock();
            machines.admission.report(member, remembered);
            if let Some(position) = position {
                machines.attestations.note(node, position);
            }
        }
    }

    fn on_rolled_back(&self, member: usize, remembered: Attested) {
        let peer = self.links.members().nth(member);
        let own = self.lock().admission.own();
        self.fatal.send_replace(Some(Fatal::RolledBack {
            peer: peer.map_or_else(String::new, |peer| peer.name.to_string()),
            remembered: remembered.counter,
            own: own.counter,
        }));
    }
}
