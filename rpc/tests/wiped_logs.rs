//! No secret in `Debug`, in an error's text or in a log.
#![allow(missing_docs)]

#[allow(dead_code, reason = "the tests of memory use the rest")]
#[cfg(target_os = "linux")]
#[path = "wiped/mod.rs"]
mod wiped;

#[cfg(target_os = "linux")]
mod logs {
    use std::fmt::{self, Debug, Write};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Instant;

    use sealmoot_crypto::agreement::AgreementKey;
    use sealmoot_crypto::random;
    use sealmoot_crypto::secret::SecretArray;
    use sealmoot_rpc::noise::{
        Acceptance, Answered, Event, HandshakeRandomness, Initiator, Options, Pattern, Responder,
        StaticKey, Suite, Target,
    };
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Metadata, Subscriber};

    use super::wiped::schedule::{Party, Schedule};
    use super::wiped::tls;

    /// Everything that was said, at any level.
    #[derive(Clone, Default)]
    struct Everything(Arc<Mutex<String>>);

    impl Everything {
        fn text(&self) -> String {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        }

        fn add(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Fields)) {
            let mut fields = Fields(String::new());
            record(&mut fields);
            let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            writeln!(text, "{} {}{}", metadata.level(), metadata.name(), fields.0).expect("memory");
        }
    }

    struct Fields(String);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, " {field}={value:?}").expect("memory");
        }
    }

    impl Subscriber for Everything {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            self.add(span.metadata(), |fields| span.record(fields));
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, values: &Record<'_>) {
            let mut fields = Fields(String::new());
            values.record(&mut fields);
            let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&fields.0);
        }

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            self.add(event.metadata(), |fields| event.record(fields));
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    /// The ways in which eight bytes of a secret may stand in a text.
    fn forms(secret: &[u8]) -> Vec<String> {
        let mut forms = vec![];
        for piece in secret.chunks_exact(8) {
            let text = |one: fn(&u8) -> String, between: &str| {
                piece.iter().map(one).collect::<Vec<_>>().join(between)
            };
            for between in ["", ":", " "] {
                forms.push(text(|byte| format!("{byte:02x}"), between));
                forms.push(text(|byte| format!("{byte:02X}"), between));
            }
            forms.push(text(|byte| format!("{byte:#04x}"), ", "));
            // As `Debug` shows bytes, on one line and on many.
            forms.push(text(|byte| byte.to_string(), ", "));
            forms.push(text(|byte| byte.to_string(), ",\n    "));
            forms.push(piece.escape_ascii().to_string());
            forms.push(String::from_utf8_lossy(piece).into_owned());
        }
        for skipped in 0..3 {
            // Wherever in a longer text the secret begins.
            for alphabet in [b"+/", b"-_"] {
                forms.push(base64(&secret[skipped..skipped + 24], *alphabet));
            }
        }
        // A form must say enough to be nothing else.
        forms.retain(|form| form.len() >= 8);
        forms
    }

    /// RFC 4648 of whole groups of three bytes.
    fn base64(bytes: &[u8], last: [u8; 2]) -> String {
        let alphabet: Vec<u8> = (b'A'..=b'Z')
            .chain(b'a'..=b'z')
            .chain(b'0'..=b'9')
            .chain(last)
            .collect();
        let digits = bytes.chunks_exact(3).flat_map(|group| {
            let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
            [18, 12, 6, 0].map(|shift| bits >> shift & 63)
        });
        digits
            .map(|digit| char::from(alphabet[usize::try_from(digit).expect("six bits")]))
            .collect()
    }

    fn assert_hidden<'a>(text: &str, secrets: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
        for (name, secret) in secrets {
            for form in forms(secret) {
                assert!(!text.contains(&form), "{name} as {form} in: {text}");
            }
        }
    }

    #[test]
    fn every_form_of_a_secret_is_seen() {
        let secret: [u8; 32] = random::array().expect("random source");
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(base64(b"Man", *b"+/"), "TWFu"); // RFC 4648's group, by hand
        for text in [
            format!("{secret:?}"),
            format!("{secret:#?}"),
            format!("{secret:02x?}").replace(", ", ""),
            hex.to_uppercase(),
            hex,
            base64(&secret[..30], *b"+/"),
            base64(&secret[1..31], *b"+/"),
            base64(&secret[2..32], *b"-_"),
            secret.escape_ascii().to_string(),
            String::from_utf8_lossy(&secret).into_owned(),
        ] {
            let seen = forms(&secret).iter().any(|form| text.contains(form));
            assert!(seen, "unseen: {text}");
        }
    }

    fn party() -> Party {
        Party {
            static_key: random::array().expect("random source"),
            ephemeral: random::array().expect("random source"),
            kem: random::array().expect("random source"),
        }
    }

    fn show(text: &mut String, value: &dyn Debug) {
        writeln!(text, "{value:?} {value:#?}").expect("memory");
    }

    fn show_error<E: std::error::Error>(text: &mut String, error: E) {
        writeln!(text, "{error} {error:?} {error:#?}").expect("memory");
    }

    /// Every type of the Noise channel, in each state, and what fails in it.
    #[test]
    fn the_noise_channel_says_no_secret() {
        for pattern in [Pattern::Xx, Pattern::Ik, Pattern::Kk] {
            let (client, server) = (party(), party());
            let suite = Suite::new(pattern);
            let text = noise_text(suite, &client, &server);
            let schedule = Schedule::of(suite, &client, &server);
            let needles = schedule.needles.iter();
            assert_hidden(&text, needles.map(|needle| (&*needle.name, needle.bytes())));
            assert_hidden(&text, [("payload", PAYLOAD)]);
        }
    }

    const PAYLOAD: &[u8] = b"a payload that nobody else is to read";

    fn noise_text(suite: Suite, client: &Party, server: &Party) -> String {
        let mut text = String::new();
        let out = &mut text;
        let key = |party: &Party| {
            let secret = SecretArray::from_bytes(party.static_key);
            show(&mut String::new(), &secret);
            Arc::new(StaticKey::from(AgreementKey::from_bytes(&secret)))
        };
        let randomness =
            |party: &Party| HandshakeRandomness::danger_from_bytes(&party.ephemeral, &party.kem);
        let (client_key, server_key) = (key(client), key(server));
        show(out, &(&client_key, &server_key, randomness(client)));
        let responder = server_key.public();
        let target = match suite.pattern {
            Pattern::Xx => Target::Xx {
                responder: Some(responder),
            },
            Pattern::Ik => Target::Ik { responder },
            Pattern::Kk => Target::Kk { responder },
        };
        let options = Options::default();
        let acceptance = Acceptance {
            suites: vec![suite],
            kk_initiator: Some(client_key.public()),
            ..Acceptance::default()
        };
        let now = Instant::now();
        let start = || Initiator::start(&client_key, &target, &options, randomness(client));
        let (initiator, first) = start().expect("honest keys");
        let responder = Responder::new(&server_key, acceptance);
        show(out, &(&initiator, &responder, &target, &options));
        let refused = responder.accept(&first[1..], randomness(server), now);
        show(out, &refused);
        show_error(out, refused.expect_err("cut"));
        let accepted = responder.accept(&first, randomness(server), now);
        let (answered, answer) = accepted.expect("honest first frame");
        show(out, &answered);
        let mut spoiled = answer.clone();
        *spoiled.last_mut().expect("a frame") ^= 1;
        let refused = start().expect("honest keys").0.finish(&spoiled, now);
        show_error(out, refused.expect_err("spoiled"));
        let (mut sender, third) = initiator.finish(&answer, now).expect("honest answer");
        let mut receiver = match (answered, third) {
            (Answered::Established(transport), None) => transport,
            (Answered::AwaitingInitiator(awaiting), Some(third)) => {
                show(out, &awaiting);
                awaiting.finish(&third, now).expect("honest third frame")
            }
            _ => panic!("the sides disagree"),
        };
        show(out, &(&sender, &receiver, sender.channel_binding()));
        let mut wire = vec![];
        sender.seal(PAYLOAD, now, &mut wire).expect("alive");
        let received = receiver.receive(&mut wire).expect("honest record");
        assert_eq!(received.event, Event::Payload(PAYLOAD));
        show(out, &received);
        let (sending, receiving) = sender.split();
        show(out, &(&sending, &receiving));
        show_error(out, receiving.end_of_stream().expect_err("no close"));
        show_error(out, receiver.receive(&mut [0; 64]).expect_err("no record"));
        show_error(out, receiver.receive(&mut [0; 64]).expect_err("dead"));
        text
    }

    /// A connection, a call, and connections that fail, with the log at its
    /// finest and every type shown.
    #[test]
    fn a_tls_connection_says_no_secret() {
        let log = Everything::default();
        let guard = tracing::subscriber::set_default(log.clone());
        let told = tls::talkative();
        drop(guard);
        let text = format!("{}{}", log.text(), told.text);
        assert!(text.contains("connected"), "the log is not heard: {text}");
        assert!(text.contains("no connection"), "nothing failed: {text}");
        assert_eq!(
            told.secrets.len(),
            2 * 3 + 2 * 7,
            "two keys, two connections"
        );
        let secrets = told.secrets.iter();
        assert_hidden(&text, secrets.map(|(name, secret)| (&**name, &**secret)));
    }

    impl fmt::Debug for Everything {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("Everything")
        }
    }
}

#[cfg(not(target_os = "linux"))]
#[test]
fn no_secret_is_said() {
    eprintln!("SKIPPED no_secret_is_said: its helpers search memory, which only Linux shows");
}
