//! What a realm of many users costs: on the administrator's machine and on a node.
//!
//! The users are imported, so that no password is stretched: what is measured is what
//! grows with their number. Everything is real but the network: files in a temporary
//! directory with their syncs, every signature made and verified. Figures are of one
//! run, except where a median is named; what must stay flat is measured in a realm of a
//! hundredth of the size too. The process ends with exit code 1 when something that must
//! not grow with the realm takes more than ten times as long in the large one.
//!
//! `cargo bench -p sealmoot-authn --bench scale [-- --users N]`

use std::fmt::Write;
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sealmoot_authn::import::{Format, Import};
use sealmoot_authn::invite::Invite;
use sealmoot_authn::name::Name;
use sealmoot_authn::realm::{ExistingUsers, OpenRealm, Realm};
use sealmoot_authn::records::RecordName;
use sealmoot_authn::users::{UserDirectory, UserRecord};

const USERS: usize = 100_000;
/// How much longer something may take among all users than among a hundredth of them.
const GROWTH_MAX: f64 = 10.0;
const RUNS: usize = 101;
const NOW_MS: u64 = 1_800_000_000_000;
const PASSPHRASE: &[u8] = b"bench";

fn main() -> ExitCode {
    // `cargo test --benches` asks for no figures.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let users = users_wanted();
    let small = Figures::of(users / 100, false);
    let large = Figures::of(users, true);
    let mut good = true;
    for ((name, small), (_, large)) in small.flat.iter().zip(&large.flat) {
        let growth = large.as_secs_f64() / small.as_secs_f64().max(1e-9);
        let verdict = if growth < GROWTH_MAX { "ok" } else { "GROWS" };
        good &= growth < GROWTH_MAX;
        println!(
            "{name:<44} {:>10.1} us, {:>10.1} us among a hundredth of them: {verdict}",
            micros(*large),
            micros(*small)
        );
    }
    if let Some(kib) = status_kib("VmHWM:") {
        println!(
            "{:<44} {:>10.1} MiB",
            "most memory of this process",
            kib / 1024.0
        );
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn users_wanted() -> usize {
    let arguments: Vec<String> = std::env::args().collect();
    arguments
        .windows(2)
        .find(|pair| pair[0] == "--users")
        .and_then(|pair| pair[1].parse().ok())
        .unwrap_or(USERS)
        .max(1000)
}

/// What must not grow with the number of users.
struct Figures {
    flat: Vec<(&'static str, Duration)>,
}

impl Figures {
    fn of(users: usize, print: bool) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let bench = name("bench");
        let realm = Realm::create(directory.path(), &bench, PASSPHRASE).expect("a realm");
        let open = realm.unlock(PASSPHRASE).expect("the passphrase");
        let mut processor = processor_seconds();
        let mut say = |what: &str, time: Duration| {
            let before = std::mem::replace(&mut processor, processor_seconds());
            if print {
                println!(
                    "{what:<44} {:>10.2} s for {users} users, {:.2} s of processors",
                    time.as_secs_f64(),
                    processor - before
                );
            }
        };
        let content = htpasswd(users);
        let (import, time) = timed(|| Import::parse(content.as_bytes(), Format::Htpasswd));
        let import = import.expect("a file");
        assert_eq!((import.users.len(), import.bad.len()), (users, 0));
        say("read the file to import", time);
        let (imported, time) = timed(|| {
            open.import_users(
                &import.users,
                true,
                ExistingUsers::Refuse,
                NOW_MS,
                |_, _| {},
            )
        });
        assert_eq!(imported.expect("imported").added, users);
        say("import", time);
        drop(import);
        let (listed, time) = timed(|| open.realm().list_users(None, usize::MAX));
        assert_eq!(listed.expect("listed").0.len(), users);
        say("list all", time);
        let mut flat = administration(&open, users);
        say("(change some)", Duration::ZERO);
        let before = status_kib("VmRSS:");
        let (held, time) = timed(|| open.realm().users());
        let held = held.expect("read");
        say("read and verify every record", time);
        if let (true, Some(before), Some(after)) = (print, before, status_kib("VmRSS:")) {
            let each = (after - before) * 1024.0 / users as f64;
            println!(
                "{:<44} {each:>10.0} bytes a user",
                "memory of a node's directory"
            );
        }
        if print {
            invites(&open, users);
        }
        flat.extend(node(&held, users, print));
        Self { flat }
    }
}

fn administration(open: &OpenRealm, users: usize) -> Vec<(&'static str, Duration)> {
    let realm = open.realm();
    let mut next = (0..users).cycle().step_by(7);
    let mut some = || name(&format!("user{}", next.next().unwrap_or(0)));
    vec![
        (
            "user show",
            median(|| {
                let name = some();
                timed(|| black_box(realm.user(&name)).expect("read").expect("there")).1
            }),
        ),
        (
            "user disable",
            median(|| {
                let name = some();
                timed(|| {
                    open.change_user(&name, NOW_MS, |user| user.enabled = false)
                        .expect("changed")
                })
                .1
            }),
        ),
    ]
}

/// The invites of a cluster of one node: what `authctl` writes, and a node reads.
fn invites(open: &OpenRealm, users: usize) {
    let nodes = [(name("n1"), "127.0.0.1:7401".to_owned())];
    let (invites, time) = timed(|| open.call_nodes(&nodes, u64::MAX, NOW_MS));
    let invite = invites.expect("invited").remove(0);
    println!(
        "{:<44} {:>10.2} s, {:.1} MiB",
        "make an invite",
        time.as_secs_f64(),
        invite.len() as f64 / 1048576.0
    );
    let (read, time) = timed(|| {
        let invite = Invite::decode(invite.expose()).expect("valid");
        invite.sealed().open(std::slice::from_ref(invite.share()))
    });
    assert_eq!(read.expect("opens").records.len(), users);
    println!(
        "{:<44} {:>10.2} s",
        "read and verify an invite",
        time.as_secs_f64()
    );
}

fn node(held: &UserDirectory, users: usize, print: bool) -> Vec<(&'static str, Duration)> {
    let records: Vec<UserRecord> = held.records().cloned().collect();
    let encoded: Vec<Vec<u8>> = records.iter().map(UserRecord::encode).collect();
    let (directory, time) = timed(|| {
        let mut directory = UserDirectory::default();
        for record in records {
            directory.apply(record);
        }
        directory
    });
    if print {
        println!(
            "{:<44} {:>10.2} s for {users} users",
            "put verified records in their place",
            time.as_secs_f64()
        );
        let (known, time) = timed(|| {
            encoded
                .iter()
                .filter(|bytes| {
                    let (name, standing) =
                        UserRecord::claimed(bytes, held.roots().expect("a realm's"))
                            .expect("a record");
                    !directory.wants(&RecordName::User(name), &standing)
                })
                .count()
        });
        assert_eq!(known, users);
        println!(
            "{:<44} {:>10.2} s for {users} users",
            "see that a peer's records are not newer",
            time.as_secs_f64()
        );
    }
    let theirs = directory.bucket_digests();
    let user = name("user7");
    let nobody = name("nobody");
    vec![
        (
            "digest, compared every second",
            median(|| timed(|| black_box(directory.digest())).1),
        ),
        (
            "find what differs, when nothing does",
            median(|| timed(|| directory.differing(&theirs, None).expect("all").count()).1),
        ),
        (
            "look up a user who exists, 1000 times",
            median(|| repeated(|| black_box(directory.active(&user, 1)).is_some())),
        ),
        (
            "look up a user who does not, 1000 times",
            median(|| repeated(|| black_box(directory.active(&nobody, 1)).is_some())),
        ),
    ]
}

fn repeated(mut run: impl FnMut() -> bool) -> Duration {
    timed(|| (0..1000).filter(|_| run()).count()).1
}

/// The hashes are random: nobody ever logs in.
fn htpasswd(users: usize) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
    let mut content = String::new();
    for index in 0..users {
        let random: [u8; 48] = sealmoot_crypto::random::array().expect("random");
        let (salt, hash) = random.split_at(16);
        let (salt, hash) = (BASE64.encode(salt), BASE64.encode(hash));
        let _ = writeln!(
            content,
            "user{index}:$argon2id$v=19$m=65536,t=3,p=4${salt}${hash}"
        );
    }
    content
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let result = run();
    (result, began.elapsed())
}

fn median(mut run: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS).map(|_| run()).collect();
    times.sort_unstable();
    times[RUNS / 2]
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A line of `/proc/self/status`, where there is one.
fn status_kib(field: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// What this process has taken of processors; a hundredth of a second is a tick.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything, in parentheses.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}
