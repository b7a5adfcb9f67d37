//! Opening what the invites sealed, once the cluster has formed: the nodes of the roster
//! hand each other their shares.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sealmoot_authn::invite::{Contents, InviteError, SealedPart, share_of};
use sealmoot_authn::name::Name;
use sealmoot_authn::roster::{Member, Roster};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::secret_sharing::Share;
use sealmoot_rpc::Connector;
use tracing::{debug, warn};

use super::identity::Identity;
use crate::proto::{EnrolmentClient, HandOverRequest};

/// Nodes that form come at once; one that is down may stay away for days.
const ROUND_AFTER: Duration = Duration::from_millis(100);
const ROUND_AFTER_MAX: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(1);
const OTHER_NODE: &str = "another node answers at its address";

/// Why what is sealed was not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpeningError {
    /// It is not to be believed, or this node's own share is not.
    #[error("what the invite sealed is not opened: {0}")]
    Invite(#[from] InviteError),
    /// The thread that opens it ended.
    #[error(transparent)]
    Ended(#[from] tokio::task::JoinError),
}

/// The shares that a node holds of what it is to open; no more than it takes.
struct Shares<'a> {
    part: &'a SealedPart,
    held: BTreeMap<u8, Share>,
}

impl Shares<'_> {
    fn suffice(&self) -> bool {
        self.held.len() >= self.part.needed()
    }

    /// Takes a share that is to be believed.
    fn add(&mut self, share: Share) -> Result<(), InviteError> {
        self.part.check(&share)?;
        if !self.suffice() {
            self.held.insert(share.index(), share);
        }
        Ok(())
    }
}

/// Asks the members of the roster for their shares until there are enough, and opens the
/// sealed part. What a member says is judged by what the root signed.
///
/// # Errors
/// [`OpeningError`]: it does not open all the same.
pub(super) async fn open(
    identity: &Identity,
    roster: &Roster,
    connector: &Connector,
    part: &SealedPart,
) -> Result<Contents, OpeningError> {
    let held = BTreeMap::new();
    let mut shares = Shares { part, held };
    let mut accused = BTreeSet::new();
    let mut pause = ROUND_AFTER;
    shares.add(identity.share.clone())?;
    loop {
        for member in roster.members() {
            if shares.suffice() {
                let part = part.clone();
                let held: Vec<Share> = shares.held.into_values().collect();
                // Many records take a while, in which the peers are to be answered.
                let opening = tokio::task::spawn_blocking(move || part.open(&held));
                return Ok(opening.await??);
            }
            let Some(index) = place(identity, &member.name) else {
                continue;
            };
            let number = u8::try_from(index + 1).unwrap_or(u8::MAX);
            if shares.held.contains_key(&number) {
                continue;
            }
            let value = match ask(connector, member).await {
                Ok(value) => value,
                Err(cause) => {
                    if cause == OTHER_NODE && accused.insert(number) {
                        warn!(peer = %member.name, cause, "it cannot be asked for its share");
                    }
                    debug!(peer = %member.name, cause, "no share yet");
                    continue;
                }
            };
            let taken = share_of(index, value).and_then(|share| shares.add(share));
            // It is asked again, and accused once.
            if let Err(error) = taken
                && accused.insert(number)
            {
                warn!(peer = %member.name, %error, "its share is not believed");
            }
        }
        if !shares.suffice() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ROUND_AFTER_MAX);
        }
    }
}

fn place(identity: &Identity, name: &Name) -> Option<usize> {
    let members = &identity.call.body().members;
    members.iter().position(|member| member.name == *name)
}

/// Asks one member, and nobody else who answers at its address.
async fn ask(connector: &Connector, member: &Member) -> Result<SecretArray<32>, String> {
    let connection = connector
        .connect(&member.address, PATIENCE)
        .await
        .map_err(|error| error.to_string())?;
    if *connection.peer().key() != member.key {
        connection.close();
        return Err(OTHER_NODE.to_owned());
    }
    let client = EnrolmentClient::new(connection);
    let reply = client.hand_over(HandOverRequest {}, PATIENCE).await;
    let reply = reply.map_err(|status| status.message().to_owned())?;
    SecretArray::from_slice(&reply.share).ok_or_else(|| "what it handed over is no share".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmoot_authn::opaque::LoginSecrets;
    use sealmoot_authn::roots::Roots;
    use sealmoot_authn::statement::{Call, CallMember, Verified};
    use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
    use sealmoot_crypto::signature::SigningKey;

    /// A call of five, of which three are enough.
    fn sealed() -> (SealedPart, Vec<Share>) {
        let key = || SigningKey::generate().expect("random");
        let root = key();
        let roots = Roots::sole(root.verifying_key());
        let members = (0..5)
            .map(|at| CallMember {
                name: format!("n{at}").parse().expect("a name"),
                address: format!("127.0.0.1:{}", 7401 + at),
                invite_key: key().verifying_key(),
            })
            .collect();
        let call = Call {
            id: [3; 16],
            realm_name: "acme".parse().expect("a name"),
            expires_ms: 100,
            members,
        };
        let call = Verified::issue(&roots.realm(), &root, 1, call);
        let login = LoginSecrets::generate().expect("random");
        let audit = PrivateKey::generate(Kem::X25519).expect("random");
        SealedPart::seal(&roots, &root, &call, &login, &audit.public_key(), &[]).expect("sealed")
    }

    fn held(part: &SealedPart) -> Shares<'_> {
        let held = BTreeMap::new();
        Shares { part, held }
    }

    #[test]
    fn shares_that_are_not_of_the_call_do_not_count_and_are_named() {
        let (part, own) = sealed();
        let (_, foreign) = sealed();
        let mut shares = held(&part);
        shares.add(own[4].clone()).expect("believed");
        for share in &foreign {
            let refused = shares.add(share.clone());
            assert!(matches!(refused, Err(InviteError::Share(number)) if number == share.index()));
        }
        let value = SecretArray::from_bytes(*own[0].value().expose());
        let renumbered = Share::new(2, value).expect("a number");
        assert!(matches!(shares.add(renumbered), Err(InviteError::Share(2))));
        assert_eq!(shares.held.len(), 1);
        assert!(!shares.suffice());
    }

    #[test]
    fn a_share_counts_once_and_no_more_are_kept_than_it_takes() {
        let (part, own) = sealed();
        let mut shares = held(&part);
        for _ in 0..3 {
            shares.add(own[1].clone()).expect("believed");
        }
        assert!(!shares.suffice());
        for share in own.iter().rev() {
            shares.add(share.clone()).expect("believed");
        }
        assert!(shares.suffice());
        let held: Vec<Share> = shares.held.into_values().collect();
        assert_eq!(held.len(), 3);
        assert!(part.open(&held).is_ok());
    }
}
