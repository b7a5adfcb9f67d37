//! Every bound of the crate, in one place.
//!
//! A constant is part of the wire format: both sides must agree on it. A field
//! of [`Limits`] is a policy of one side, and the other side learns of it only
//! by being refused.

use std::time::Duration;

/// Body bytes carried by one frame, at most: what a small call waits for when
/// bulk messages share its connection.
pub const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// Statements that a hello carries, at most.
pub const STATEMENTS_BYTES_MAX: usize = 64 * 1024;

/// Encoded metadata of one call, at most. Part of the wire format.
pub const METADATA_BYTES_MAX: usize = 4096;

/// Entries of one call's metadata, at most. Part of the wire format.
pub const METADATA_ENTRIES_MAX: usize = 32;

/// Bytes of a metadata key, at most. Part of the wire format.
pub const METADATA_KEY_BYTES_MAX: usize = 64;

/// Credit with which each direction of a stream begins: bytes of frames that
/// its sender may send before the receiver has said that it takes them. Part of
/// the wire format.
pub const STREAM_WINDOW_BYTES: usize = 64 * 1024;

/// The most that a stream's unspent credit may come to. Part of the wire
/// format.
pub const STREAM_CREDIT_MAX: usize = 1 << 30;

/// What a message that waits for its reader counts for beside its bytes: a
/// stream of empty messages takes memory too.
pub(crate) const STREAM_MESSAGE_OVERHEAD_BYTES: usize = 64;

/// Messages of a stream that wait to be sent, at most: each takes some 64 bytes
/// beside its own, and the smallest would take several times what they count for.
pub(crate) const STREAM_MESSAGES_QUEUED_MAX: usize = 512;

/// Messages for which a stream keeps room while none waits for its reader.
pub(crate) const STREAM_MESSAGES_ROOM_KEPT: usize = 64;

/// A peer's certificate, as DER, at most: one of an Ed25519 key with a few
/// names and extensions has less than 1 KiB.
pub const CERTIFICATE_BYTES_MAX: usize = 4 * 1024;

/// UTF-8 bytes of a status message on the wire; longer ones are cut at a
/// character boundary.
pub const STATUS_MESSAGE_BYTES_MAX: usize = 1024;

/// Bytes of a status's details on the wire; longer ones are dropped whole,
/// because half of a structure is worse than none.
pub const STATUS_DETAILS_BYTES_MAX: usize = 8 * 1024;

/// Typed details of a status, at most.
pub const STATUS_DETAILS_MAX: usize = 16;

/// Bytes that one write to the socket gathers, about: small frames made ready
/// meanwhile wait for no more bulk than this.
pub(crate) const TRANSMIT_BYTES_TARGET: usize = 32 * 1024;

/// Plaintext waiting to be split into frames. Must exceed the largest frame of
/// an open connection, or reading would stop for ever.
pub(crate) const INPUT_BYTES: usize = 32 * 1024;

/// Ciphertext read by one system call: rustls alone asks for 4 KiB at a time.
pub(crate) const SOCKET_READ_BYTES: usize = 16 * 1024;

/// Bytes that the kernel holds back unsent before the socket counts as full.
/// What it holds cannot be overtaken, and by itself it holds megabytes.
pub(crate) const SOCKET_UNSENT_BYTES: u32 = 128 * 1024;

/// What a memory channel holds in each direction before its writer waits.
pub const MEMORY_CHANNEL_BYTES: usize = 64 * 1024;

/// What a Noise channel reads at once before its peer has sent that much: more
/// than lawful peers send until they are authorized.
pub(crate) const NOISE_INPUT_BYTES_FIRST: usize = 2 * 1024;

/// What it reads at once from then on: two of the longest records. Never more.
pub(crate) const NOISE_INPUT_BYTES: usize = 2 * noise::STREAM_RECORD_FRAME_BYTES_MAX;

/// What a Noise channel seals before it writes; as much again may wait for the
/// socket.
pub(crate) const NOISE_OUTPUT_BYTES: usize = 64 * 1024;

/// Connections over memory that wait for a server's attention, at most.
pub(crate) const MEMORY_BACKLOG: usize = 128;

/// Connections accepted in a breath, at most; further ones wait in the kernel's
/// backlog. Some 8,000 a second, several times what there can be handshakes.
pub(crate) const ACCEPTS_PER_BREATH: u32 = 8;

/// How long a breath is: what the runtime's timers can tell apart.
pub(crate) const ACCEPT_BREATH: Duration = Duration::from_millis(1);

/// What handshakes may owe before they have to wait, in time of one processor:
/// so much of a sudden crowd, such as clients that come back after a restart,
/// is worked off without a pause.
pub(crate) const TURN_OWED_MAX: Duration = Duration::from_millis(100);

/// What one turn counts for, at most. The system may run others in the middle of
/// it, and the host of a virtual machine may stop it: at a small share of one
/// processor that would stop all handshakes for many times as long.
pub(crate) const TURN_COST_MAX: Duration = Duration::from_millis(10);

/// A source queues as if it had come later by so many times what its turns cost
/// of late.
pub(crate) const TURN_DELAY_FACTOR: u32 = 20;

/// For so many turns a handshake queues by when it came, and not by when it
/// wants the turn: it would else wait behind the whole crowd for each of its
/// flights. A lawful one needs fewer; one that drips does not stay ahead of
/// those who come later.
pub(crate) const TURNS_BY_AGE_MAX: u32 = 12;

/// Bytes that a handshake reads in one turn, about: what a turn costs has to have
/// a bound, and garbage can be cheap to send and dear to look at.
pub(crate) const TURN_BYTES_MAX: usize = 16 * 1024;

/// What is reserved at first for a payload that a stranger has announced.
pub(crate) const HELLO_STEP_BYTES: usize = 4 * 1024;

/// The most that it is put back so. Far below the handshake's deadline, or a
/// source with one attacker in it could keep its honest clients out.
pub(crate) const TURN_DELAY_MAX: Duration = Duration::from_secs(2);

/// After this long half of what a source cost is forgotten.
pub(crate) const TURN_COST_HALVES: Duration = Duration::from_secs(1);

/// Sources whose costs are remembered, at most.
pub(crate) const TURN_SOURCES_MAX: usize = 4096;

/// A cost that is forgotten at once when there is no more room for others.
pub(crate) const TURN_COST_FORGOTTEN: Duration = Duration::from_micros(500);

/// Sources that are remembered because a peer was authorized from there, at
/// most.
pub(crate) const KNOWN_SOURCES_MAX: usize = 4096;

/// Of these, such as one identity may have made known.
pub(crate) const KNOWN_SOURCES_PER_IDENTITY_MAX: usize = 16;

/// Identities that are remembered to have come from one source, at most.
pub(crate) const KNOWN_VOUCHERS_PER_SOURCE_MAX: usize = 4;

/// How long they are remembered since the last such peer came or went.
pub(crate) const KNOWN_SOURCE_LASTS: Duration = Duration::from_secs(60 * 60);

/// A known source has no lead over others while its turns cost more than this of
/// late: a few dozen handshakes at once, or about ten a second for long.
pub(crate) const KNOWN_COST_MAX: Duration = Duration::from_millis(10);

/// One turn in so many is for a source that is not known, while such a one
/// waits.
pub(crate) const UNKNOWN_TURN_EVERY: u32 = 4;

/// While known sources have more than one place in so many, a place is made of
/// theirs as of any other.
pub(crate) const KNOWN_PLACES_DIVISOR: usize = 2;

/// Rounds of reading and writing before a busy connection lets others run.
pub(crate) const ROUNDS_PER_POLL_MAX: usize = 16;

/// Bytes thrown away after our side of a connection is closed, at most.
pub(crate) const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// How long the accept loop rests after the system refuses it a descriptor.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// How long a [`Link`](crate::Link) rests after its first failure to connect;
/// twice as long after each further one.
pub(crate) const LINK_RETRY_FIRST: Duration = Duration::from_millis(20);

/// How long it rests at most: what a partition's end may go unnoticed, beside
/// the second after which a lost SYN is sent again.
pub(crate) const LINK_RETRY_MAX: Duration = Duration::from_millis(200);

/// How long it rests at most while one side refuses the other.
pub(crate) const LINK_REFUSED_RETRY_MAX: Duration = Duration::from_secs(10);

/// How long a connection must have stood before its end is followed by the
/// shortest rest again.
pub(crate) const LINK_STANDS: Duration = Duration::from_secs(2);

/// How long a server keeps an incarnation of at-most-once calls, and all that it
/// knows of it, after its last use. Nothing younger is forgotten, unless the same
/// identity has no room for a further incarnation, or for a further call: then
/// one that was not used for [`ONCE_EVICTABLE_AFTER`] and in which nothing runs.
pub const ONCE_KEPT: Duration = Duration::from_secs(600);

/// How long after its first attempt a client may still send an at-most-once call
/// again, and how long after it last heard of an incarnation it begins calls in
/// it. Both together are what a server keeps, so no attempt comes too late.
pub const ONCE_HORIZON: Duration = Duration::from_secs(300);

const _: () = assert!(ONCE_KEPT.as_secs() == 2 * ONCE_HORIZON.as_secs());

/// Incarnations that a server keeps for one identity, at most. One more takes
/// the place of one in which nothing runs and that was not used for
/// [`ONCE_EVICTABLE_AFTER`]: first of those that remember no call, then the one
/// that was used longest ago. Where there is none, it is refused.
pub const ONCE_INCARNATIONS_PER_IDENTITY_MAX: usize = 32;

/// How long an incarnation must not have been used before another of the same
/// identity takes its place. Below it more clients with one key than it may have
/// incarnations would push each other out in turn.
pub const ONCE_EVICTABLE_AFTER: Duration = Duration::from_secs(10);

/// Incarnations that a server keeps, at most.
pub const ONCE_INCARNATIONS_MAX: usize = 16 * 1024;

/// Calls of one incarnation that a server remembers, running or not settled yet.
/// A client opens another incarnation rather than have more in one.
pub const ONCE_ENTRIES_MAX: usize = 2048;

/// Calls of all incarnations that a server remembers, at most.
pub const ONCE_ENTRIES_ALL_MAX: usize = 256 * 1024;

/// Bytes of replies that a server keeps for one identity. A reply beyond is not
/// kept: of its call is known only that it ran.
pub const ONCE_REPLY_BYTES_PER_IDENTITY_MAX: usize = 1024 * 1024;

/// Bytes of replies that a server keeps, at most.
pub const ONCE_REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Attempts that wait for the outcome of one at-most-once call, at most.
pub const ONCE_WAITERS_MAX: usize = 8;

/// Handlers of at-most-once calls that run for one identity, at most: they
/// outlive their connections, so the bounds of a connection do not bound them.
pub const ONCE_RUNNING_PER_IDENTITY_MAX: usize = 1024;

/// Bytes of the requests of these handlers, at most.
pub const ONCE_RUNNING_BYTES_PER_IDENTITY_MAX: usize = 64 * 1024 * 1024;

/// How often a server forgets what nobody uses any more.
pub(crate) const ONCE_SWEEP: Duration = Duration::from_secs(30);

/// How long a client waits for the answer to the opening of an incarnation.
pub(crate) const ONCE_OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Servers whose incarnations a client keeps without a call under way.
pub(crate) const ONCE_SERVERS_MAX: usize = 8;

/// Attempts of one call, hedges included, at most.
pub const RETRY_ATTEMPTS_MAX: u32 = 5;

/// What a client rests before its second attempt, at most; twice as long before
/// each further one.
pub const RETRY_BACKOFF_FIRST: Duration = Duration::from_millis(25);

/// The longest that it rests.
pub const RETRY_BACKOFF_MAX: Duration = Duration::from_secs(2);

/// What a call adds to the retry budget, in thousandths of a retry.
pub const RETRY_DEPOSIT_THOUSANDTHS: u64 = 200;

/// Retries that the budget gains in a second without any call.
pub const RETRY_PER_SECOND: u64 = 10;

/// Retries that the budget holds, at most: what may leave in one burst.
pub const RETRY_BURST_MAX: u64 = 100;

/// Methods of which a client remembers latencies, at most.
pub(crate) const HEDGE_METHODS_MAX: usize = 256;

/// Latencies that the estimate behind hedging looks back on.
pub const HEDGE_SAMPLES_MAX: usize = 128;

/// Latencies that it needs before it says anything.
pub const HEDGE_SAMPLES_MIN: usize = 20;

/// The longest duration taken anywhere, so that no sum of times overflows.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The bounds of the Noise channel's machines.
pub mod noise {
    use std::time::Duration;

    /// Bytes of a length before each frame: 16 bits, big-endian.
    pub const PREFIX_BYTES: usize = 2;

    /// The longest Noise message (Noise revision 34, section 3).
    pub const MESSAGE_BYTES_MAX: usize = 65_535;

    /// Bytes that authentication adds to whatever is encrypted.
    pub const TAG_BYTES: usize = 16;

    /// Bytes of a transport message before its part of the payload: the flags.
    pub const FLAGS_BYTES: usize = 1;

    /// Payload bytes of one transport message, at most. Part of the wire format:
    /// each fragment but a payload's last has exactly this many.
    pub const FRAGMENT_BYTES_MAX: usize = MESSAGE_BYTES_MAX - TAG_BYTES - FLAGS_BYTES;

    /// Bytes of the stream that one record of a
    /// [`NoiseChannel`](crate::channel::NoiseChannel) carries, at most; as in
    /// TLS. Part of its wire format.
    pub const STREAM_RECORD_BYTES_MAX: usize = 16 * 1024;

    /// The same with all that stands around them.
    pub const STREAM_RECORD_FRAME_BYTES_MAX: usize =
        PREFIX_BYTES + FLAGS_BYTES + STREAM_RECORD_BYTES_MAX + TAG_BYTES;

    /// The longest frame of any handshake: the first of IK with the hybrid.
    pub const HANDSHAKE_FRAME_BYTES_MAX: usize = 1322;

    /// One payload, over all its fragments, unless the settings say less.
    pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;

    /// Memory that a receiver keeps between payloads of several fragments; a
    /// larger buffer is given back.
    pub(crate) const ASSEMBLY_BYTES_KEPT: usize = 256 * 1024;

    /// Bytes sent under one key before the sender moves to the next, unless the
    /// settings say less: what a stolen key opens.
    pub const REKEY_BYTES: u64 = 64 * 1024 * 1024;

    /// Age of a key at which the sender moves to the next with the record it
    /// sends, unless the settings say otherwise.
    pub const REKEY_AGE: Duration = Duration::from_secs(120);

    /// Bytes under one key after which a receiver closes on a peer that does not
    /// move on. Part of the wire format.
    pub const REKEY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
}

/// The bounds of binding by name.
pub mod binding {
    use std::time::Duration;

    /// Bytes of a name, at most.
    pub const NAME_BYTES_MAX: usize = 128;

    /// Bytes of a service's full name, at most.
    pub const SERVICE_BYTES_MAX: usize = 128;

    /// Bytes of an endpoint's address, at most: a host name of 249 and a port.
    pub const ADDRESS_BYTES_MAX: usize = 255;

    /// Bytes of a Unix socket's path, at most: what `sockaddr_un` holds on every
    /// system, less the zero behind it.
    pub const SOCKET_PATH_BYTES_MAX: usize = 103;

    /// Endpoints of one name, at most.
    pub const ENDPOINTS_MAX: usize = 32;

    /// Services of one name, at most.
    pub const SERVICES_MAX: usize = 32;

    /// How long a record may be held without asking again, at most: a day.
    pub const TTL_SECONDS_MAX: u32 = 24 * 60 * 60;

    /// The longest signed record: every list full, every text as long as it may be.
    pub const RECORD_BYTES_MAX: usize = 1
        + 32
        + 8
        + 8
        + 4
        + (4 + NAME_BYTES_MAX)
        + 4
        + SERVICES_MAX * (4 + SERVICE_BYTES_MAX + 32)
        + 4
        + ENDPOINTS_MAX * (1 + 32 + 32 + 1 + 4 + ADDRESS_BYTES_MAX)
        + 64;

    /// Bytes of a table of records, at most. It is read whole.
    pub const TABLE_BYTES_MAX: usize = 1024 * 1024;

    /// Records of a table, at most: each costs the verification of a signature.
    pub const TABLE_RECORDS_MAX: usize = 1024;

    /// How long a table's file is not looked at again.
    pub const TABLE_REREAD: Duration = Duration::from_secs(1);

    /// Consecutive failures after which an endpoint is ejected.
    pub const EJECT_FAILURES: u32 = 3;

    /// How long an endpoint is ejected first; twice as long after each probe that
    /// fails.
    pub const EJECT_FIRST: Duration = Duration::from_millis(500);

    /// How long at most.
    pub const EJECT_MAX: Duration = Duration::from_secs(30);

    /// An endpoint that has stood so long since it was ejected is ejected for the
    /// shortest time again.
    pub const EJECT_FORGOTTEN: Duration = Duration::from_secs(60);

    /// Names that a cache holds, at most.
    pub const CACHE_NAMES_MAX: usize = 1024;

    /// How long a connection to an endpoint is tried at most, all steps together.
    /// A lost SYN is sent again after one second, then only after two more.
    pub const DIAL_MAX: Duration = Duration::from_secs(2);

    /// How long a call waits for a connection to one endpoint before it tries
    /// another, while the first is still being connected.
    pub const DIAL_PATIENCE: Duration = Duration::from_millis(500);

    /// A record whose endpoints fail is asked for again before its time, between
    /// half of this and the whole after the last answer; twice as long after each
    /// answer in a row that brought nothing newer.
    pub const DOUBT_REST: Duration = Duration::from_millis(500);

    /// How long at most.
    pub const DOUBT_REST_MAX: Duration = Duration::from_secs(8);

    /// How long one question about an endpoint's health stays open.
    pub const HEALTH_WATCH: Duration = Duration::from_secs(3600);

    /// How long after a question about health that ended without need the next one
    /// is asked.
    pub const HEALTH_REST: Duration = Duration::from_secs(1);

    /// How long a call for which there is no connection at all rests before it
    /// looks again, if nothing changes meanwhile.
    pub const BIND_REST: Duration = Duration::from_millis(100);

    /// How long a call waits for the source of a record that counts and is beyond
    /// its time to live, before it uses that record.
    pub const STALE_PATIENCE: Duration = Duration::from_millis(250);

    /// How long an answer to a question is waited for before another is asked.
    pub const RESOLVE_PATIENCE: Duration = Duration::from_secs(5);

    /// How long a name that could not be resolved is not asked for again; twice as
    /// long after each further failure.
    pub const RESOLVE_RETRY_FIRST: Duration = Duration::from_millis(100);

    /// How long at most.
    pub const RESOLVE_RETRY_MAX: Duration = Duration::from_secs(10);
}

/// Bounds of what a server tells about itself.
pub mod reflection {
    use super::binding::SERVICE_BYTES_MAX;

    /// Services that a client hears of, at most.
    pub const SERVICES_MAX: usize = 256;

    /// Earlier schemas of one service, at most.
    pub const EARLIER_MAX: usize = 16;

    /// Bytes of a list of services, at most: every list full, every text as long
    /// as it may be, every length in two bytes. Looked at before a byte is decoded,
    /// because a list of empty entries takes forty times its bytes in memory.
    pub const SERVICES_BYTES_MAX: usize =
        SERVICES_MAX * (3 + (3 + SERVICE_BYTES_MAX) + (1 + EARLIER_MAX) * (2 + 32));
}

/// What one side of a connection is ready to spend on the other.
///
/// The defaults suit a service on a data-centre network. Every field is public
/// so that a caller writes `Limits { field, ..Limits::default() }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Total time for TCP connect, TLS handshake and both hellos together. A
    /// timeout per read would let one byte every few seconds hold a connection
    /// open for ever.
    pub handshake: Duration,
    /// Connections that have not proved an authorized key yet, over all sources.
    /// One more, and the oldest of the source that has most is closed.
    pub unauthenticated_max: usize,
    /// The same from one source: one IPv4 address or one IPv6 /64 network. One
    /// more is closed at once.
    pub unauthenticated_per_source_max: usize,
    /// Bytes read from a socket before its peer is authorized.
    pub unauthenticated_bytes_max: usize,
    /// The same over all such connections that are open: beyond it, the one
    /// that has sent most is closed. A byte can stand in up to four bytes of
    /// buffers, in the channel and behind it; with the buffers that each
    /// connection has anyway this bounds the memory that strangers can take.
    pub unauthenticated_bytes_all_max: usize,
    /// What handshakes may take of one processor, in percent, while there are
    /// more than that is enough for; the others wait, and those from where
    /// somebody was authorized within the hour wait least. They never run one
    /// directly after the other: whatever else is ready comes between, so a call
    /// waits for one handshake and not for a crowd of them; and of a hundred
    /// calls as many meet one as this says. Five percent are about 150
    /// handshakes a second for as long as it lasts. Beyond 100 a server on
    /// several threads runs several at a time.
    pub unauthenticated_processor_percent: u32,
    /// Connections that a server holds open, authenticated or not.
    pub connections_max: usize,
    /// Size of one request or reply body.
    pub message_bytes_max: usize,
    /// Request bodies (server), partial replies (client) and messages of streams
    /// that nobody has taken yet, held for one connection.
    pub incoming_bytes_max: usize,
    /// Bytes queued for one connection. A call beyond it is refused as busy; a
    /// reply beyond it is replaced by a status. Streams may fill half of it with
    /// what they have no credit for; then their senders wait.
    pub outgoing_bytes_max: usize,
    /// A server with more than this queued reads no further calls from that
    /// connection until its client has taken some.
    pub outgoing_bytes_pause: usize,
    /// Calls in flight on one connection.
    pub calls_in_flight_max: usize,
    /// Connections that one identity has open at a server. A further one is
    /// refused in place of its welcome. This and the following bounds hold for
    /// all connections of a key together, but for those that have limits of
    /// their own by [`Authorizer::limits`](crate::Authorizer::limits).
    pub connections_per_identity_max: usize,
    /// Calls of one identity, each until its handler is gone and all that it has
    /// [shielded](crate::CallContext::shield) is done. A call beyond is refused
    /// as busy.
    pub calls_per_identity_max: usize,
    /// Of these, calls with a stream in either direction.
    pub streams_per_identity_max: usize,
    /// Bytes of requests that are held for one identity and bytes that wait to
    /// leave to it, together. What is beyond meets the same as beyond
    /// [`Limits::incoming_bytes_max`] and [`Limits::outgoing_bytes_max`]; and
    /// from a connection whose client leaves its answers untaken nothing is
    /// read while there is more.
    pub bytes_per_identity_max: usize,
    /// Calls in flight that one identity may cancel in a second, and at once.
    /// The connection that brings one more is closed.
    pub cancellations_per_second_max: u32,
    /// The longest that a handler may run, whatever the caller asked for.
    pub call_duration_max: Duration,
    /// The same for a call with a stream in either direction.
    pub stream_duration_max: Duration,
    /// Silence after which a ping is sent; and how long we are silent ourselves
    /// before we show, unasked, that we are here.
    pub keepalive_idle: Duration,
    /// How long the peer may take to answer a ping before the connection is
    /// dead. Together with [`Limits::keepalive_idle`] it bounds how long behind
    /// a partition's end a [`Link`](crate::Link) resumes: TCP alone doubles its
    /// pauses while nothing comes back.
    pub keepalive_timeout: Duration,
    /// How long a write may make no progress while the peer still shows that it
    /// is there. On a slow link the system takes more only when a good part of
    /// what it holds is gone.
    pub write_stall: Duration,
    /// Bytes that this side sends over a Noise channel under one key, at most
    /// [`noise::REKEY_BYTES_MAX`]: what a stolen key opens.
    pub noise_rekey_bytes: u64,
    /// Age of a Noise key at which this side takes the next with the record that
    /// it sends then.
    pub noise_rekey_age: Duration,
    /// How long a closing connection waits for the peer to take its last
    /// frames and close too.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            unauthenticated_max: 1024,
            unauthenticated_per_source_max: 64,
            unauthenticated_bytes_max: 256 * 1024,
            unauthenticated_bytes_all_max: 6 * 1024 * 1024,
            unauthenticated_processor_percent: 10,
            connections_max: 8192,
            message_bytes_max: 4 * 1024 * 1024,
            incoming_bytes_max: 64 * 1024 * 1024,
            outgoing_bytes_max: 64 * 1024 * 1024,
            outgoing_bytes_pause: 1024 * 1024,
            calls_in_flight_max: 1024,
            connections_per_identity_max: 256,
            calls_per_identity_max: 4 * 1024,
            streams_per_identity_max: 2 * 1024,
            bytes_per_identity_max: 256 * 1024 * 1024,
            cancellations_per_second_max: 16 * 1024,
            call_duration_max: Duration::from_secs(300),
            stream_duration_max: Duration::from_secs(24 * 60 * 60),
            keepalive_idle: Duration::from_secs(1),
            keepalive_timeout: Duration::from_millis(1_500),
            write_stall: Duration::from_secs(10),
            noise_rekey_bytes: noise::REKEY_BYTES,
            noise_rekey_age: noise::REKEY_AGE,
            linger: Duration::from_millis(500),
        }
    }
}

impl Limits {
    /// Names the first limit with which no connection could work.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let positive_counts = [
            (self.unauthenticated_max, "unauthenticated_max is zero"),
            (
                self.unauthenticated_per_source_max,
                "unauthenticated_per_source_max is zero",
            ),
            (
                self.unauthenticated_bytes_max,
                "unauthenticated_bytes_max is zero",
            ),
            (
                self.unauthenticated_bytes_all_max,
                "unauthenticated_bytes_all_max is zero",
            ),
            (
                self.unauthenticated_processor_percent as usize,
                "unauthenticated_processor_percent is zero",
            ),
            (self.connections_max, "connections_max is zero"),
            (self.outgoing_bytes_max, "outgoing_bytes_max is zero"),
            (self.outgoing_bytes_pause, "outgoing_bytes_pause is zero"),
            (self.calls_in_flight_max, "calls_in_flight_max is zero"),
            (
                self.connections_per_identity_max,
                "connections_per_identity_max is zero",
            ),
            (
                self.calls_per_identity_max,
                "calls_per_identity_max is zero",
            ),
            (
                self.bytes_per_identity_max,
                "bytes_per_identity_max is zero",
            ),
            (
                self.cancellations_per_second_max as usize,
                "cancellations_per_second_max is zero",
            ),
        ];
        let positive_durations = [
            (self.handshake, "handshake is zero"),
            (self.call_duration_max, "call_duration_max is zero"),
            (self.stream_duration_max, "stream_duration_max is zero"),
            (self.keepalive_idle, "keepalive_idle is zero"),
            (self.keepalive_timeout, "keepalive_timeout is zero"),
            (self.write_stall, "write_stall is zero"),
            (self.noise_rekey_age, "noise_rekey_age is zero"),
        ];
        if self.noise_rekey_bytes == 0 {
            return Some("noise_rekey_bytes is zero");
        }
        let count = positive_counts.iter().find(|(value, _)| *value == 0);
        let duration = positive_durations.iter().find(|(value, _)| value.is_zero());
        let durations = [
            self.handshake,
            self.call_duration_max,
            self.stream_duration_max,
            self.keepalive_idle,
            self.keepalive_timeout,
            self.write_stall,
            self.noise_rekey_age,
            self.linger,
        ];
        if durations.iter().any(|duration| *duration > DURATION_MAX) {
            return Some("a duration is longer than a year");
        }
        count
            .map(|(_, fault)| *fault)
            .or(duration.map(|(_, fault)| *fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_workable() {
        assert_eq!(Limits::default().fault(), None);
    }

    #[test]
    fn a_zero_limit_is_named() {
        let limits = Limits {
            calls_in_flight_max: 0,
            ..Limits::default()
        };
        assert_eq!(limits.fault(), Some("calls_in_flight_max is zero"));
        let limits = Limits {
            keepalive_idle: Duration::ZERO,
            ..Limits::default()
        };
        assert_eq!(limits.fault(), Some("keepalive_idle is zero"));
    }

    #[test]
    fn a_duration_that_would_overflow_is_refused() {
        let limits = Limits {
            linger: Duration::MAX,
            ..Limits::default()
        };
        assert_eq!(limits.fault(), Some("a duration is longer than a year"));
    }
}
