//! A login: three messages, after which both sides know that the client knew the
//! password and that the server holds the user's record.

use sealmoot_crypto::encoding::Writer;
use sealmoot_crypto::password::PASSWORD_LENGTH_MAX;
use sealmoot_crypto::secret::SecretBytes;
use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::ChannelBinding;

use super::randomness::Randomness;
use super::registration::identifiers;
use super::steps::{self, ClientLoginState, ServerLoginState, Terms};
use super::stretching::Stretching;
use super::{
    ExportKey, KE1_LENGTH, KE2_LENGTH, KE3_LENGTH, LoginSecrets, OpaqueError, PasswordFile,
    SessionKey, user_binding,
};
use crate::name::Name;
use crate::realm_id::RealmId;

const DOMAIN: &[u8] = b"sealmoot/login";
const VERSION: u8 = 1;

/// What a login is bound to. Both sides take it from what they know themselves, never
/// from each other: a login that is relayed to another node, realm or channel, or for
/// another session key, ends at the first check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginContext {
    /// The realm.
    pub realm: RealmId,
    /// The node that answers.
    pub node: KeyId,
    /// The channel between them.
    pub channel: ChannelBinding,
    /// The client's key in that channel, which the login is for.
    pub session: KeyId,
    /// Who logs in.
    pub user: Name,
}

impl LoginContext {
    /// The context of the key exchange (RFC 9807, section 6.4, `context`): each part
    /// behind its length.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(256);
        writer.bytes(DOMAIN);
        writer.bytes(&[VERSION]);
        writer.bytes(self.realm.as_bytes());
        writer.bytes(self.node.as_bytes());
        writer.bytes(self.channel.as_bytes());
        writer.bytes(self.session.as_bytes());
        writer.text(self.user.as_str());
        writer.finish()
    }
}

/// A client that waits for the server's answer.
pub struct ClientLogin {
    // In one place: what is moved leaves copies behind, and with blind and blinded
    // password guesses are tried without stretching.
    state: Box<ClientLoginState>,
    password: SecretBytes,
    context: LoginContext,
}

impl ClientLogin {
    /// Blinds a password; returns KE1, the message for the server.
    ///
    /// # Errors
    /// [`OpaqueError::Refused`] for a password above [`PASSWORD_LENGTH_MAX`] bytes,
    /// which nobody has; [`OpaqueError::Random`].
    pub fn start(
        password: &[u8],
        context: LoginContext,
    ) -> Result<(Self, [u8; KE1_LENGTH]), OpaqueError> {
        if password.len() > PASSWORD_LENGTH_MAX {
            return Err(OpaqueError::Refused);
        }
        let (state, message) = steps::login_request(&mut Randomness::draw()?, password)?;
        let password = SecretBytes::new(password.to_vec());
        let client = Self {
            state: Box::new(state),
            password,
            context,
        };
        Ok((client, message))
    }

    /// Judges the server's answer KE2; returns KE3, the proof for the server, and the
    /// keys. Takes as long and as much memory as `stretching` says.
    ///
    /// # Errors
    /// [`OpaqueError::Malformed`] and [`OpaqueError::Reflected`] of a server that does
    /// not keep to the protocol; [`OpaqueError::Refused`] when the password is wrong,
    /// or there is no such user, or the server is another; [`OpaqueError::Stretching`],
    /// [`OpaqueError::Random`].
    pub fn finish(
        self,
        stretching: Stretching,
        response: &[u8],
    ) -> Result<([u8; KE3_LENGTH], ExportKey, SessionKey), OpaqueError> {
        let Self {
            state,
            password,
            context,
        } = self;
        let encoded = context.encode();
        steps::login_proof(
            &mut Randomness::draw()?,
            *state,
            password.expose(),
            &stretching.stretcher(),
            terms(&context, &encoded),
            response,
        )
    }
}

/// A server that waits for the client's proof.
pub struct ServerLogin {
    state: ServerLoginState,
    context: LoginContext,
}

impl ServerLogin {
    /// Answers KE1 with KE2. Without a password file, because there is no such user,
    /// the answer has the same form and costs the same work, and nothing opens it
    /// (RFC 9807, section 6.3.2.2).
    ///
    /// # Errors
    /// [`OpaqueError::Malformed`], [`OpaqueError::Random`].
    pub fn start(
        secrets: &LoginSecrets,
        file: Option<&PasswordFile>,
        context: LoginContext,
        request: &[u8],
    ) -> Result<(Self, [u8; KE2_LENGTH]), OpaqueError> {
        let (state, message) = steps::login_response(
            &mut Randomness::draw()?,
            secrets.setup(),
            file.map(PasswordFile::record),
            &user_binding(&context.realm, &context.user),
            terms(&context, &context.encode()),
            request,
        )?;
        Ok((Self { state, context }, message))
    }

    /// Judges KE3: whether the client knew the password.
    ///
    /// # Errors
    /// [`OpaqueError::Malformed`], [`OpaqueError::Refused`].
    pub fn finish(self, proof: &[u8]) -> Result<SessionKey, OpaqueError> {
        let encoded = self.context.encode();
        steps::login_verdict(self.state, terms(&self.context, &encoded), proof)
    }
}

fn terms<'a>(context: &'a LoginContext, encoded: &'a [u8]) -> Terms<'a> {
    Terms {
        context: encoded,
        identifiers: identifiers(&context.realm, &context.user),
    }
}
