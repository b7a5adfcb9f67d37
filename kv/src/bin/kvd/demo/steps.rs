//! The steps of the demonstration. Each shows one promise, and fails when the
//! promise is not kept.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sealmoot_authn::cli::{Code, Failure, now_ms};
use sealmoot_authn::files::{self, Existing};
use sealmoot_authn::name::Name;
use sealmoot_authn::policy::Role;
use sealmoot_authn::realm::Realm;
use sealmoot_authn::realm_id::RealmId;
use sealmoot_crypto::passphrase;
use sealmoot_crypto::secret::SecretBytes;
use sealmoot_kv::client::{Client, Level, LoginCredential, LoginRequest, Write, log_in};

use super::Talk;
use super::nodes::{DemoNode, Workshop, free_addresses};

const KEY: &str = "app/db/password";
const TIMEOUT: Duration = Duration::from_secs(10);
/// Long enough to be sure, short enough to watch.
const REFUSED_WITHIN: Duration = Duration::from_millis(600);

/// A cluster that was shown, for whoever wants to go on.
pub(super) struct Shown {
    pub(super) nodes: Vec<DemoNode>,
    pub(super) client: Client,
}

pub(super) async fn show(
    workshop: &Workshop,
    count: usize,
    talk: &Talk<'_>,
) -> Result<Shown, Failure> {
    talk.heading("A realm: one root key, sealed; its id is all that clients pin")?;
    let password = generated(3)?;
    let value = generated(3)?;
    let (realm, addresses, invites) = call_together(workshop, count, &password, talk)?;

    talk.heading("Nodes: keys made where they run, no certificate, no first node")?;
    let mut nodes = gather(workshop, addresses, &invites, talk)?;

    talk.heading("A user logs in: the session is a key, not a token")?;
    let request = LoginRequest {
        revoked_nodes: None,
        roots: None,
        idle: None,
        realm,
        address: nodes[0].address.clone(),
        user: "alice".to_owned(),
        credential: LoginCredential::Password(SecretBytes::new(password.expose().to_vec())),
        key: None,
        timeout: TIMEOUT,
    };
    let context = log_in(&request, now_ms()).await?;
    talk.line(format!("✓ alice logged in at {}", nodes[0].name))?;
    let client = Client::new(&context, Vec::new(), TIMEOUT, now_ms)?;
    let hasty = Client::new(&context, Vec::new(), REFUSED_WITHIN, now_ms)?;

    talk.heading("Write, read, and lose a node")?;
    put(&client, &value, talk).await?;
    get(&client, &value, talk).await?;
    let last = nodes.len() - 1;
    kill(&mut nodes[last], talk)?;
    get(&client, &value, talk).await?;

    talk.heading("Lose the quorum: nothing is guessed, it is refused")?;
    let tolerated = (count - 1) / 2;
    for node in nodes.iter_mut().rev().skip(1).take(tolerated) {
        kill(node, talk)?;
    }
    refused(&hasty, talk).await?;

    talk.heading("Bring the nodes back: what was acknowledged is there")?;
    restart(&mut nodes, talk)?;
    get(&client, &value, talk).await?;

    talk.heading("The disks: neither key name, nor value, nor password")?;
    let secrets = [KEY.as_bytes(), value.expose(), password.expose()];
    search(workshop, &nodes, &secrets, talk)?;

    talk.heading("A stolen data directory: without its node's key it opens nothing")?;
    steal(workshop, &nodes[0], talk)?;
    talk.heading("All of it happened just now, on this machine.")?;
    Ok(Shown { nodes, client })
}

fn call_together(
    workshop: &Workshop,
    count: usize,
    password: &SecretBytes,
    talk: &Talk<'_>,
) -> Result<(RealmId, Vec<String>, Vec<SecretBytes>), Failure> {
    let root_passphrase = generated(6)?;
    let name: Name = "demo".parse().map_err(Failure::internal)?;
    let realm = Realm::create(&workshop.path("realms"), &name, root_passphrase.expose())
        .map_err(Failure::internal)?;
    let id = realm.id();
    talk.line(format!("✓ realm demo  {id}"))?;
    let realm = realm
        .unlock(root_passphrase.expose())
        .map_err(Failure::internal)?;
    let alice: Name = "alice".parse().map_err(Failure::internal)?;
    realm
        .add_user(&alice, vec![Role::Admin], password.expose(), now_ms())
        .map_err(Failure::internal)?;
    talk.line("✓ user alice [admin]")?;
    let addresses = free_addresses(count)?;
    let mut called = Vec::with_capacity(count);
    for (index, address) in addresses.iter().enumerate() {
        let name: Name = format!("n{}", index + 1)
            .parse()
            .map_err(Failure::internal)?;
        called.push((name, address.clone()));
    }
    let invites = realm
        .call_nodes(&called, now_ms() + 600_000, now_ms())
        .map_err(Failure::internal)?;
    talk.line(format!("✓ {count} invites, each good once"))?;
    Ok((id, addresses, invites))
}

fn gather(
    workshop: &Workshop,
    addresses: Vec<String>,
    invites: &[SecretBytes],
    talk: &Talk<'_>,
) -> Result<Vec<DemoNode>, Failure> {
    let mut nodes = Vec::with_capacity(addresses.len());
    let mut waiting = Vec::with_capacity(addresses.len());
    for (index, (address, invite)) in addresses.into_iter().zip(invites).enumerate() {
        let mut node = DemoNode::new(workshop, index + 1, address);
        let path = workshop.path(&format!("{}.invite", node.name));
        files::write(&path, invite.expose(), Existing::Refuse)?;
        waiting.push((node.join(&path)?, path));
        nodes.push(node);
    }
    for ((ready, path), node) in waiting.into_iter().zip(&nodes) {
        ready.wait()?;
        if path.exists() {
            return Err(Failure::internal("a used invite was not destroyed"));
        }
        talk.line(format!("✓ {} ready  {}", node.name, node.address))?;
    }
    talk.line(format!("✓ cluster formed {0}/{0}", nodes.len()))?;
    Ok(nodes)
}

async fn put(client: &Client, value: &SecretBytes, talk: &Talk<'_>) -> Result<(), Failure> {
    let started = Instant::now();
    let key = Bytes::from_static(KEY.as_bytes());
    let change = Write::Put(Bytes::copy_from_slice(value.expose()));
    let reply = client.write(&key, change).await?;
    talk.line(format!(
        "$ kv put {KEY} -        rev {}, held by {} of {} nodes, {:.1} ms",
        reply.revision,
        reply.acks,
        reply.replicas,
        started.elapsed().as_secs_f64() * 1000.0
    ))
}

async fn get(client: &Client, value: &SecretBytes, talk: &Talk<'_>) -> Result<(), Failure> {
    let started = Instant::now();
    let key = Bytes::from_static(KEY.as_bytes());
    let reply = client.get(&key, Level::Linearizable).await?;
    if !reply.found || reply.value != value.expose() {
        return Err(Failure::internal("another value came back"));
    }
    talk.line(format!(
        "$ kv get {KEY}          {}  ({:.1} ms)",
        String::from_utf8_lossy(&reply.value),
        started.elapsed().as_secs_f64() * 1000.0
    ))
}

fn kill(node: &mut DemoNode, talk: &Talk<'_>) -> Result<(), Failure> {
    node.kill();
    talk.line(format!("$ kill -9 {}", node.name))
}

async fn refused(client: &Client, talk: &Talk<'_>) -> Result<(), Failure> {
    let key = Bytes::from_static(KEY.as_bytes());
    match client.get(&key, Level::Linearizable).await {
        Err(failure) if failure.code == Code::NoQuorum => {
            talk.line(format!("$ kv get {KEY}"))?;
            for line in failure.to_text("kv").lines() {
                talk.line(line)?;
            }
            Ok(())
        }
        Err(failure) => Err(failure),
        Ok(_) => Err(Failure::internal("a value was read without a quorum")),
    }
}

fn restart(nodes: &mut [DemoNode], talk: &Talk<'_>) -> Result<(), Failure> {
    let mut waiting = Vec::new();
    for node in nodes.iter_mut().filter(|node| !node.is_running()) {
        talk.line(format!("$ kvd start --data ./{}", node.name))?;
        waiting.push(node.start()?);
    }
    waiting
        .into_iter()
        .try_for_each(super::nodes::Readiness::wait)
}

fn search(
    workshop: &Workshop,
    nodes: &[DemoNode],
    secrets: &[&[u8]],
    talk: &Talk<'_>,
) -> Result<(), Failure> {
    let mut searched = 0;
    for node in nodes {
        searched += search_directory(&node.data, secrets)?;
    }
    searched += search_directory(&workshop.path("realms"), &secrets[1..])?;
    talk.line(format!(
        "searched {searched} bytes of all files: on no disk"
    ))
}

fn search_directory(directory: &Path, secrets: &[&[u8]]) -> Result<u64, Failure> {
    let io = |error: std::io::Error| Failure::internal(format!("{}: {error}", directory.display()));
    let mut searched = 0;
    for entry in fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            searched += search_directory(&path, secrets)?;
            continue;
        }
        let content = fs::read(&path).map_err(io)?;
        searched += content.len() as u64;
        for secret in secrets {
            if content
                .windows(secret.len())
                .any(|window| window == *secret)
            {
                return Err(Failure::new(
                    Code::Integrity,
                    format!("a secret stands readable in {}", path.display()),
                ));
            }
        }
    }
    Ok(searched)
}

fn steal(workshop: &Workshop, node: &DemoNode, talk: &Talk<'_>) -> Result<(), Failure> {
    let stolen = workshop.path("stolen");
    files::create_directory(&stolen)?;
    let io = |error: std::io::Error| Failure::internal(format!("{}: {error}", node.data.display()));
    for entry in fs::read_dir(&node.data).map_err(io)? {
        let entry = entry.map_err(io)?;
        fs::copy(entry.path(), stolen.join(entry.file_name())).map_err(io)?;
    }
    let elsewhere = workshop.path("elsewhere");
    files::create_directory(&elsewhere)?;
    let result = DemoNode::command_with_config(&elsewhere)?
        .arg("start")
        .arg("--data")
        .arg(&stolen)
        .output()
        .map_err(Failure::internal)?;
    talk.line("$ cp -r n1 stolen; kvd start --data ./stolen     (on another machine)")?;
    let said = String::from_utf8_lossy(&result.stderr);
    let expected = i32::from(Code::Locked.exit());
    if result.status.code() != Some(expected) || !said.contains("error[locked]") {
        return Err(Failure::internal(format!(
            "a stolen directory was not refused as locked: {said}"
        )));
    }
    let first = said.lines().next().unwrap_or_default();
    let shown = first.split(" opens ").next().unwrap_or(first);
    talk.line(format!("{shown} opens it"))?;
    talk.line(format!("exit {expected}"))
}

fn generated(words: usize) -> Result<SecretBytes, Failure> {
    passphrase::generate(words).map_err(Failure::internal)
}
