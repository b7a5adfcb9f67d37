//! TLS peers that present any bytes as their key and sign with anything, and
//! handshakes in memory, over a wire that may be tampered with.
//!
//! Their verifier is ring's, as rustls has it: without a strict import of the
//! key, so it shows what ours would let in if it did not import strictly.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring as provider};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{Acceptor, AlwaysResolvesServerRawPublicKeys, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey as TlsSigningKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureAlgorithm, SignatureScheme,
};
use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::hazmat::sign_unframed;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::ALPN;
use sealmoot_rpc::tls::{PeerKeyRejected, ServerConfigs, self_signed_certificate};

/// How a key travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Raw,
    Certificate,
}

pub const FORMS: [Form; 2] = [Form::Raw, Form::Certificate];

impl Form {
    /// What a lawful peer presents.
    pub fn present(self, key: &SigningKey) -> CertificateDer<'static> {
        match self {
            Self::Raw => key.verifying_key().to_spki().to_vec().into(),
            Self::Certificate => self_signed_certificate(key),
        }
    }

    /// Any bytes in the place of the `SubjectPublicKeyInfo`.
    pub fn enclose(self, spki: &[u8]) -> CertificateDer<'static> {
        match self {
            Self::Raw => spki.to_vec().into(),
            Self::Certificate => certificate_around(spki, &[]).into(),
        }
    }
}

/// What a peer presents, and how it signs.
#[derive(Clone)]
pub struct Identity {
    pub entries: Vec<CertificateDer<'static>>,
    pub signer: Forger,
}

impl Identity {
    pub fn honest(form: Form, key: SigningKey) -> Self {
        Self {
            entries: vec![form.present(&key)],
            signer: Forger::honest(key),
        }
    }

    /// Other bytes in the place of the key, signed for by an honest signer.
    pub fn presenting(entries: Vec<CertificateDer<'static>>) -> Self {
        Self {
            entries,
            signer: Forger::honest(key()),
        }
    }

    fn certified(self) -> Arc<CertifiedKey> {
        Arc::new(CertifiedKey::new(self.entries, Arc::new(self.signer)))
    }
}

type Sign = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

/// Signs a handshake with whatever it is told to.
#[derive(Clone)]
pub struct Forger {
    pub scheme: SignatureScheme,
    sign: Arc<Sign>,
}

impl Forger {
    pub fn new(sign: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self {
            scheme: SignatureScheme::ED25519,
            sign: Arc::new(sign),
        }
    }

    pub fn honest(key: SigningKey) -> Self {
        Self::new(move |message| sign(&key, message))
    }
}

/// Ed25519 over `message` itself.
pub fn sign(key: &SigningKey, message: &[u8]) -> Vec<u8> {
    sign_unframed(key, message)
        .expect("TLS signs 64 spaces first")
        .to_bytes()
        .to_vec()
}

impl fmt::Debug for Forger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Forger")
    }
}

impl TlsSigningKey for Forger {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Forger {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok((self.sign)(message))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

pub fn key() -> SigningKey {
    SigningKey::generate().expect("random source")
}

/// A client that presents `identity` in form `own` and expects form `other`.
pub fn mixed_client(own: Form, other: Form, identity: Identity) -> ClientConfig {
    client_over(own, other, identity, provider::default_provider())
}

/// A client of one form.
pub fn client(form: Form, identity: Identity) -> ClientConfig {
    mixed_client(form, form, identity)
}

/// A client with these groups, its key share for the first of them.
pub fn client_of_groups(
    form: Form,
    identity: Identity,
    kx_groups: Vec<&'static dyn SupportedKxGroup>,
) -> ClientConfig {
    let provider = CryptoProvider {
        kx_groups,
        ..provider::default_provider()
    };
    client_over(form, form, identity, provider)
}

fn client_over(
    own: Form,
    other: Form,
    identity: Identity,
    provider: CryptoProvider,
) -> ClientConfig {
    let certified = identity.certified();
    let resolver: Arc<dyn ResolvesClientCert> = match own {
        Form::Raw => Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified)),
        Form::Certificate => Arc::new(SingleCertAndKey::from(certified)),
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Lenient(other)))
        .with_client_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

/// A server that presents `identity` in form `own` and expects form `other`.
pub fn mixed_server(own: Form, other: Form, identity: Identity) -> Arc<ServerConfig> {
    let certified = identity.certified();
    let resolver: Arc<dyn ResolvesServerCert> = match own {
        Form::Raw => Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified)),
        Form::Certificate => Arc::new(SingleCertAndKey::from(certified)),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(Arc::new(Lenient(other)))
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

/// A server of one form.
pub fn server(form: Form, identity: Identity) -> Arc<ServerConfig> {
    mixed_server(form, form, identity)
}

/// Where a handshake's first message goes.
pub enum Serving<'a> {
    Ours(&'a ServerConfigs),
    Other(Arc<ServerConfig>),
}

/// Who sent a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Client,
    Server,
}

/// How both sides ended: complete and content, or why not.
#[derive(Debug)]
pub struct Ended {
    pub client: Result<ClientConnection, Error>,
    pub server: Result<ServerConnection, Error>,
}

impl Ended {
    /// That neither side got through.
    pub fn assert_neither(&self, what: &str) {
        assert!(self.client.is_err(), "{what}: the client got through");
        assert!(self.server.is_err(), "{what}: the server got through");
    }

    pub fn client_error(self) -> Error {
        self.client.expect_err("the client is refused or refuses")
    }

    pub fn server_error(self) -> Error {
        self.server.expect_err("the server is refused or refuses")
    }
}

/// A handshake in memory. `wire` is given each flight with its number, from 0
/// for each side, and may change it.
pub fn handshake(
    client: Arc<ClientConfig>,
    serving: Serving<'_>,
    mut wire: impl FnMut(Sender, usize, &mut Vec<u8>),
) -> Ended {
    const FLIGHTS_MAX: usize = 8;
    let name = ServerName::try_from("anyone").expect("a name");
    let mut client = ClientConnection::new(client, name).expect("a client");
    let mut client_failed = None;
    let mut server = ServerSide::new(serving);
    for number in 0..FLIGHTS_MAX {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).expect("memory");
        }
        if !flight.is_empty() {
            wire(Sender::Client, number, &mut flight);
        }
        let mut answer = server.take(&flight);
        if !answer.is_empty() {
            wire(Sender::Server, number, &mut answer);
        }
        let mut rest = &answer[..];
        while !rest.is_empty() && client_failed.is_none() {
            match client.read_tls(&mut rest) {
                Ok(0) | Err(_) => break,
                Ok(_) => client_failed = client.process_new_packets().err(),
            }
        }
        if answer.is_empty() && !client.wants_write() {
            break;
        }
    }
    let client = match client_failed {
        Some(error) => Err(error),
        None if client.is_handshaking() => Err(Error::HandshakeNotComplete),
        None => Ok(client),
    };
    Ended {
        client,
        server: server.ended(),
    }
}

enum ServerSide<'a> {
    Hello(Acceptor, Serving<'a>),
    Connection(ServerConnection, Option<Error>),
    Refused(Error),
}

impl<'a> ServerSide<'a> {
    fn new(serving: Serving<'a>) -> Self {
        Self::Hello(Acceptor::default(), serving)
    }

    /// What the server answers.
    fn take(&mut self, mut flight: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        while !flight.is_empty() {
            let next = match self {
                Self::Refused(_) | Self::Connection(_, Some(_)) => return answer,
                Self::Connection(connection, failed) => {
                    if !matches!(connection.read_tls(&mut flight), Ok(read) if read > 0) {
                        return answer;
                    }
                    *failed = connection.process_new_packets().err();
                    None
                }
                Self::Hello(acceptor, serving) => {
                    if !matches!(acceptor.read_tls(&mut flight), Ok(read) if read > 0) {
                        return answer;
                    }
                    match acceptor.accept() {
                        Ok(None) => None,
                        Ok(Some(accepted)) => {
                            let config = match serving {
                                Serving::Ours(configs) => configs.choose(&accepted.client_hello()),
                                Serving::Other(config) => Arc::clone(config),
                            };
                            match accepted.into_connection(config) {
                                Ok(connection) => Some(Self::Connection(connection, None)),
                                Err((error, mut alert)) => {
                                    alert.write_all(&mut answer).expect("memory");
                                    Some(Self::Refused(error))
                                }
                            }
                        }
                        Err((error, mut alert)) => {
                            alert.write_all(&mut answer).expect("memory");
                            Some(Self::Refused(error))
                        }
                    }
                }
            };
            if let Some(next) = next {
                *self = next;
            }
        }
        if let Self::Connection(connection, _) = self {
            while connection.wants_write() {
                connection.write_tls(&mut answer).expect("memory");
            }
        }
        answer
    }

    fn ended(self) -> Result<ServerConnection, Error> {
        match self {
            Self::Hello(..) => Err(Error::HandshakeNotComplete),
            Self::Refused(error) | Self::Connection(_, Some(error)) => Err(error),
            Self::Connection(connection, None) if connection.is_handshaking() => {
                Err(Error::HandshakeNotComplete)
            }
            Self::Connection(connection, None) => Ok(connection),
        }
    }
}

/// Why our verifier refused a key, when it was that which did.
pub fn rejected(error: &Error) -> Option<PeerKeyRejected> {
    match error {
        Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
            other.0.downcast_ref().copied()
        }
        _ => None,
    }
}

/// Ed25519's `SubjectPublicKeyInfo` around any 32 bytes.
pub fn spki_of(point: &[u8; 32]) -> Vec<u8> {
    let mut spki = vec![
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    spki.extend_from_slice(point);
    spki
}

/// One element of DER of up to 65,535 bytes.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    let length = content.len();
    match length {
        0..=0x7f => element.push(length as u8),
        0x80..=0xff => element.extend_from_slice(&[0x81, length as u8]),
        _ => element.extend_from_slice(&[0x82, (length >> 8) as u8, length as u8]),
    }
    element.extend_from_slice(content);
    element
}

/// An X.509 certificate around any key, with these extensions, and a signature
/// that is none.
pub fn certificate_around(spki: &[u8], extensions: &[u8]) -> Vec<u8> {
    const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
    let validity = [
        element(0x17, b"700101000000Z"),
        element(0x18, b"99991231235959Z"),
    ]
    .concat();
    let mut fields = vec![
        element(0xa0, &[2, 1, 2]),
        element(0x02, &[1]),
        ED25519.to_vec(),
        element(0x30, &[]),
        element(0x30, &validity),
        element(0x30, &[]),
        spki.to_vec(),
    ];
    if !extensions.is_empty() {
        fields.push(element(0xa3, &element(0x30, extensions)));
    }
    let signature = element(0x03, &[0; 65]);
    let signed = element(0x30, &fields.concat());
    element(0x30, &[&signed, ED25519, &signature].concat())
}

/// Every encoding of a point of small order, as ring decodes points: the eight
/// canonical ones, and six that name one of them a second time.
pub fn weak_points() -> Vec<[u8; 32]> {
    [
        // "Taming the many EdDSAs" (2020), table 6.
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        // x = -0 with y = 1 and y = -1.
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        // y = p and y = p + 1, with either sign.
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ]
    .map(|point| unhex(point).try_into().expect("32 bytes"))
    .to_vec()
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// A signature that ring verifies over `message` under a key of small order,
/// made without any private key.
///
/// `S` times the base point is `R`, and the key's part vanishes wherever the
/// hash is a multiple of its order: one try in eight, at worst.
pub fn forge(point: &[u8; 32], message: &[u8]) -> Vec<u8> {
    (0u32..1000)
        .map(|number| {
            let seed = sha256(&number.to_le_bytes());
            let r = SigningKey::from_seed(&SecretArray::from_bytes(seed)).verifying_key();
            let expanded = ring::digest::digest(&ring::digest::SHA512, &seed);
            let mut s: [u8; 32] = *expanded.as_ref().first_chunk().expect("64 bytes");
            s[0] &= 248;
            s[31] = s[31] & 127 | 64;
            [r.to_bytes(), reduced(s)].concat()
        })
        .find(|signature| ring_accepts(point, message, signature))
        .expect("one of a thousand")
}

/// What ring itself says.
pub fn ring_accepts(point: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, point)
        .verify(message, signature)
        .is_ok()
}

/// Modulo the group's order, little-endian.
fn reduced(mut scalar: [u8; 32]) -> [u8; 32] {
    let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    // Below 2^255, so at most seven times the order, which is above 2^252.
    while scalar.iter().rev().cmp(order.iter().rev()).is_ge() {
        let mut borrow = 0;
        for (digit, subtrahend) in scalar.iter_mut().zip(&order) {
            let difference = i16::from(*digit) - i16::from(*subtrahend) - borrow;
            borrow = i16::from(difference < 0);
            *digit = difference.rem_euclid(256) as u8;
        }
    }
    scalar
}

/// Any key that ring verifies with.
#[derive(Debug)]
struct Lenient(Form);

impl Lenient {
    fn verify(
        &self,
        message: &[u8],
        presented: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider::default_provider().signature_verification_algorithms;
        match self.0 {
            Form::Raw => rustls::crypto::verify_tls13_signature_with_raw_key(
                message,
                &SubjectPublicKeyInfoDer::from(&presented[..]),
                signed,
                algorithms,
            ),
            Form::Certificate => {
                rustls::crypto::verify_tls13_signature(message, presented, signed, algorithms)
            }
        }
    }
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::HandshakeNotComplete)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        presented: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, presented, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.0 == Form::Raw
    }
}

impl ClientCertVerifier for Lenient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::HandshakeNotComplete)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        presented: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, presented, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.0 == Form::Raw
    }
}
