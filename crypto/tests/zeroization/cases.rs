//! Each type of this crate that holds a secret.

use std::hint::black_box;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sealmoot_crypto::aead::RecordKey;
use sealmoot_crypto::agreement::AgreementKey;
use sealmoot_crypto::backend::Backend;
use sealmoot_crypto::digest::MacKey;
use sealmoot_crypto::keyset::Keyset;
use sealmoot_crypto::password::{Arena, Cost, PasswordRecord, stretch, stretch_in};
use sealmoot_crypto::secret::{SecretArray, SecretBytes};
use sealmoot_crypto::signature::SigningKey;
use sealmoot_crypto::{kdf, passphrase, passphrase_box, random};

use super::libraries;
use super::memory::{Needle, Residue, Searcher};

const CHEAP: Cost = Cost {
    memory_kib: 64,
    passes: 1,
    lanes: 1,
};

/// A search copies other threads' memory, so that what they hold would be found
/// in two places: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `case`, which returns what to look for, and demands that nothing of it is
/// left.
#[track_caller]
fn leaves_nothing(what: &str, case: impl FnOnce() -> Vec<Needle>) {
    let mut searcher = Searcher::new();
    let needles = searcher.run(case);
    let residues: Vec<Residue> = needles
        .iter()
        .map(|needle| searcher.search(needle))
        .collect();
    assert!(
        residues.iter().all(Residue::is_none),
        "{what}: {residues:#?}"
    );
}

fn random_array() -> SecretArray<32> {
    SecretArray::random().expect("randomness")
}

fn random_vec(length: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; length];
    random::fill(&mut bytes).expect("randomness");
    bytes
}

#[test]
fn the_search_finds_what_is_there_and_does_not_find_itself() {
    let _alone = alone();
    let mut searcher = Searcher::new();
    let live = random_array();
    let needle = Needle::of(live.expose());
    let residue = searcher.search(&needle);
    assert_eq!((residue.places(), residue.longest), (1, 32), "{residue:?}");
    let boxed = SecretBytes::new(random_vec(64));
    let residue = searcher.search(&Needle::of(boxed.expose()));
    assert_eq!((residue.elsewhere, residue.longest), (1, 64), "{residue:?}");
    drop(live);
    assert!(searcher.search(&needle).is_none());
}

#[test]
fn the_search_finds_what_was_not_wiped() {
    let _alone = alone();
    let mut searcher = Searcher::new();
    // The allocator writes its lists over the first bytes.
    let needle = searcher.run(|| Needle::of(&black_box(random_vec(64))));
    let residue = searcher.search(&needle);
    assert!(
        residue.elsewhere > 0 && residue.longest >= 32,
        "{residue:?}"
    );
    let needle = searcher.run(|| {
        let plain: [u8; 32] = random::array().expect("randomness");
        Needle::of(black_box(&plain))
    });
    let residue = searcher.search(&needle);
    assert!(residue.on_stack > 0 && residue.longest == 32, "{residue:?}");
}

#[test]
fn secret_bytes() {
    let _alone = alone();
    leaves_nothing("whole", || {
        let secret = SecretBytes::new(random_vec(100));
        vec![Needle::of(secret.expose())]
    });
    leaves_nothing("cut before it was taken, with room behind", || {
        let mut bytes = random_vec(100);
        let needle = Needle::of(&bytes);
        bytes.truncate(7);
        drop(black_box(SecretBytes::new(bytes)));
        vec![needle]
    });
    leaves_nothing("moved about", || {
        let secret = Box::new(SecretBytes::from(random_vec(64)));
        let needle = Needle::of(secret.expose());
        let moved = black_box(*secret);
        drop(black_box(vec![moved]));
        vec![needle]
    });
    // Words of eight letters and more stand in the list, too.
    let mut searcher = Searcher::new();
    let needle = searcher.run(|| {
        let passphrase = passphrase::generate(12).expect("randomness");
        Needle::of(passphrase.expose())
    });
    let residue = searcher.search(&needle);
    assert!(residue.longest < 16, "a passphrase: {residue:?}");
}

#[test]
fn secret_array() {
    let _alone = alone();
    leaves_nothing("on the stack", || {
        let secret = black_box(random_array());
        vec![Needle::of(secret.expose())]
    });
    leaves_nothing("boxed", || {
        let secret = Box::new(random_array());
        vec![Needle::of(black_box(&secret).expose())]
    });
    leaves_nothing("from a slice", || {
        let source = SecretBytes::new(random_vec(32));
        let secret = SecretArray::<32>::from_slice(source.expose()).expect("32 bytes");
        assert!(black_box(&secret).same_as(&secret));
        vec![Needle::of(secret.expose())]
    });
}

#[test]
fn signing_key() {
    let _alone = alone();
    leaves_nothing("used", || {
        let seed = random_array();
        let key = SigningKey::from_seed(&seed);
        black_box(key.sign("test", b"message"));
        vec![Needle::of(seed.expose())]
    });
    leaves_nothing("generated", || {
        let key = SigningKey::generate().expect("randomness");
        vec![Needle::of(key.to_seed().expose())]
    });
    leaves_nothing("as PKCS#8", || {
        let key = SigningKey::generate().expect("randomness");
        let der = key.to_pkcs8_der();
        vec![Needle::of(&der.expose()[16..])]
    });
}

#[test]
fn agreement_key() {
    let _alone = alone();
    leaves_nothing("used", || {
        let secret = random_array();
        let key = AgreementKey::from_bytes(&secret);
        let peer = AgreementKey::generate().expect("randomness").public();
        let shared = key.agree(&peer).expect("it contributes");
        vec![Needle::of(secret.expose()), Needle::of(shared.expose())]
    });
}

#[test]
fn record_key() {
    let _alone = alone();
    for backend in Backend::ALL {
        // What the cipher leaves of it in use, `libraries.rs` measures.
        leaves_nothing("made and dropped", || {
            let secret = random_array();
            let key = RecordKey::from_secret_on(*backend, &secret);
            drop(black_box(key));
            vec![Needle::of(secret.expose())]
        });
    }
}

#[test]
fn mac_key() {
    let _alone = alone();
    for backend in Backend::ALL {
        leaves_nothing(&format!("used on {backend:?}"), || {
            let secret = random_array();
            let key = MacKey::from_secret_on(*backend, &secret);
            black_box(key.tag(&[b"message"]));
            vec![
                Needle::of(secret.expose()),
                Needle::of_masked(secret.expose(), 0x36),
                Needle::of_masked(secret.expose(), 0x5c),
            ]
        });
    }
}

#[test]
fn derived_key() {
    let _alone = alone();
    leaves_nothing("root and derived", || {
        let root = random_array();
        let derived = kdf::derive(root.expose(), "test", b"1");
        vec![
            Needle::of(root.expose()),
            Needle::of_masked(root.expose(), 0x36),
            Needle::of_masked(root.expose(), 0x5c),
            Needle::of(derived.expose()),
        ]
    });
}

#[test]
fn keyset() {
    let _alone = alone();
    leaves_nothing("used, rotated and dropped", || {
        let mut keyset = Keyset::generate().expect("randomness");
        for _ in 0..9 {
            let id = keyset.add().expect("added");
            keyset.promote(id).expect("promoted");
            let sealed = keyset.seal("test", b"", b"text").expect("sealed");
            black_box(keyset.open("test", b"", &sealed).expect("opens"));
        }
        master_keys(&keyset)
    });
    leaves_nothing("stored and read", || {
        let keyset = Keyset::generate().expect("randomness");
        let stored = keyset.to_secret_bytes();
        let again = Keyset::from_secret_bytes(stored.expose()).expect("valid");
        master_keys(&again)
    });
}

#[test]
fn destroyed_key_of_a_living_keyset() {
    let _alone = alone();
    let mut keyset = Keyset::generate().expect("randomness");
    leaves_nothing("destroyed", || {
        let ids: Vec<u32> = (0..5).map(|_| keyset.add().expect("added")).collect();
        let needles = master_keys(&keyset);
        for id in [ids[1], ids[4], ids[0], ids[3], ids[2]] {
            keyset.destroy(id).expect("destroyed");
        }
        // All but the first, which lives on.
        needles[1..].to_vec()
    });
}

#[test]
fn sealing_and_commitment_keys_of_a_keyset() {
    let _alone = alone();
    let master: [u8; 32] = random::array().expect("randomness");
    for (number, backend) in [1, 2]
        .into_iter()
        .flat_map(|number| Backend::ALL.iter().map(move |backend| (number, *backend)))
    {
        let stored = libraries::stored_keyset(&[(7, 2, number, master)]);
        let mut searcher = Searcher::new();
        searcher.run(|| {
            let keyset = Keyset::from_secret_bytes(&stored)
                .expect("valid")
                .on(backend);
            drop(black_box(keyset));
        });
        for derivation in ["keyset sealing key", "keyset commitment key"] {
            let needle = libraries::ask_helper(derivation, &master, &[number]);
            let residue = searcher.search(&needle);
            assert!(
                residue.is_none(),
                "{derivation} on {backend:?}: {residue:?}"
            );
        }
    }
}

/// Looks for the master keys where the stored form has them.
fn master_keys(keyset: &Keyset) -> Vec<Needle> {
    let stored = keyset.to_secret_bytes();
    stored.expose()[6..]
        .chunks_exact(38)
        .map(|key| Needle::of(&key[6..]))
        .collect()
}

#[test]
fn password() {
    let _alone = alone();
    leaves_nothing("stretched", || {
        let stretched = stretch(b"password", &[7; 16], CHEAP).expect("stretched");
        vec![Needle::of(stretched.expose())]
    });
    leaves_nothing("stretched in an arena", || {
        let password = SecretBytes::new(random_vec(32));
        let mut arena = Arena::default();
        let stretched = stretch_in(password.expose(), &[7; 16], CHEAP, &mut arena);
        let stretched = stretched.expect("stretched");
        vec![
            Needle::of(password.expose()),
            Needle::of(stretched.expose()),
        ]
    });
    // The arena's blocks depend on nothing but password, salt and cost.
    let password: [u8; 32] = random::array().expect("randomness");
    let mut searcher = Searcher::new();
    searcher.run(|| {
        let mut arena = Arena::default();
        stretch_in(&password, &[7; 16], CHEAP, &mut arena).expect("stretched");
    });
    let needle = libraries::ask_helper("arena", &password, &[7; 16]);
    let residue = searcher.search(&needle);
    assert!(residue.is_none(), "a dropped arena: {residue:?}");
    leaves_nothing("verified", || {
        let password = SecretBytes::new(random_vec(32));
        let record = PasswordRecord::hash(password.expose(), CHEAP).expect("hashed");
        assert!(record.verify(password.expose()).expect("compared"));
        vec![Needle::of(password.expose())]
    });
}

#[test]
fn passphrase_boxes() {
    let _alone = alone();
    leaves_nothing("opened", || {
        let text = SecretBytes::new(random_vec(64));
        let passphrase = SecretBytes::new(random_vec(32));
        let sealed = passphrase_box::seal(passphrase.expose(), "test", b"", text.expose(), CHEAP);
        let sealed = sealed.expect("sealed");
        let opened = passphrase_box::open(passphrase.expose(), "test", b"", &sealed);
        vec![
            Needle::of(opened.expect("opens").expose()),
            Needle::of(passphrase.expose()),
        ]
    });
}

#[test]
fn stream_key() {
    use sealmoot_crypto::stream::{self, Options, StreamKey};
    let _alone = alone();
    leaves_nothing("used", || {
        let secret = random_array();
        let key = StreamKey::from_secret(&secret);
        let sealed = stream::seal(&key, "test", b"", Options::default(), b"text").expect("sealed");
        black_box(stream::open(&key, "test", b"", &sealed).expect("opens"));
        vec![
            Needle::of(secret.expose()),
            Needle::of_masked(secret.expose(), 0x36),
            Needle::of_masked(secret.expose(), 0x5c),
        ]
    });
}

#[test]
fn keys_behind_the_door_for_raw_ones() {
    use sealmoot_crypto::hazmat::{openssh, pem, raw};
    use sealmoot_crypto::signature::SigningKey;
    let _alone = alone();
    leaves_nothing("exported and imported", || {
        let key = SigningKey::generate().expect("randomness");
        let exported = raw::export_signing_key(&key);
        black_box(raw::import_signing_key(exported.expose()).expect("a key"));
        black_box(pem::signing_key_to_pem(&key));
        black_box(openssh::private_to_text(&key, "comment").expect("a short comment"));
        vec![Needle::of(exported.expose())]
    });
}

#[test]
fn keys_for_sealed_boxes() {
    use sealmoot_crypto::hazmat::raw;
    use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
    let _alone = alone();
    leaves_nothing("made, exported and dropped", || {
        let key = PrivateKey::generate(Kem::X25519).expect("randomness");
        vec![Needle::of(raw::export_box_key(&key).expose())]
    });
}

#[test]
fn what_the_libraries_leave_is_measured() {
    let _alone = alone();
    let lines = libraries::table("left in memory, by the system's allocator:");
    assert!(lines.iter().all(|line| line.residue.length >= 32));
}
