//! Histories of real clients at real nodes, under faults, and their judgement.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use sealmoot_simulation::linearizable::check;
use sealmoot_simulation::model::Revisions;
use sealmoot_tests::home::Home;
use sealmoot_tests::random::Random;

use crate::clients::{Client, Record, Workload, read_all};
use crate::faults::{self, Fault};
use crate::field::{Field, NODES};
use crate::nodes::{Nodes, Under, has_fake_clock};

const CLIENTS: u32 = 5;
/// Fewer successful operations than this in a second say nothing.
const OK_PER_SECOND_MIN: f64 = 10.0;
/// One history in so many may be repeated, and two in any case.
const REPEATED_ONE_IN: u64 = 5;

/// Runs histories and judges them; says what it saw.
pub(crate) fn run(count: u64, lasts: Duration, first_seed: u64) -> Result<(), String> {
    if !has_fake_clock() {
        println!("SKIPPED clock jumps: libfaketime is not installed");
    }
    let field = Rc::new(Field::lay()?);
    let home = Home::new();
    crate::ended::remember_directory(home.path(""));
    let directories: Vec<PathBuf> = (0..NODES)
        .map(|host| home.path(format!("host{host}")))
        .collect();
    for directory in &directories {
        std::fs::create_dir_all(directory).map_err(|error| error.to_string())?;
    }
    let under = if has_fake_clock() {
        Under::FakeClock
    } else {
        Under::Nothing
    };
    let mut nodes = Nodes::form(Rc::clone(&field), home, directories, under)?;
    let mut faults = BTreeMap::<Fault, usize>::new();
    let mut totals = (0, 0, 0);
    let began = Instant::now();
    let floor = OK_PER_SECOND_MIN * lasts.as_secs_f64();
    let (mut done, mut too_few, mut seed) = (0, 0, first_seed);
    while done < count {
        let record = one(&mut nodes, &field, seed, lasts, &mut faults)?;
        let (ok, failed, unknown) = record.counts();
        println!("history {seed}: {ok} ok, {failed} failed, {unknown} unknown");
        check(&record.history(), Revisions::MayJump).map_err(|violation| {
            let operations: Vec<String> = violation
                .operations
                .iter()
                .map(ToString::to_string)
                .collect();
            format!(
                "history {seed} is not linearizable, key {}:\n{}",
                violation.key,
                operations.join("\n")
            )
        })?;
        totals = (totals.0 + ok, totals.1 + failed, totals.2 + unknown);
        seed += 1;
        if (ok as f64) >= floor {
            done += 1;
            continue;
        }
        // Judged, and not counted: the machine, or faults that met all nodes at once, left
        // too little to judge.
        too_few += 1;
        if too_few > 2.max(count / REPEATED_ONE_IN) {
            return Err(format!(
                "{too_few} histories had fewer than {floor} successful operations, the last {ok}"
            ));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "nemesis: {count} histories of {lasts:?} linearizable; {} operations ok, {} failed, {} unknown; {seconds:.0} s",
        totals.0, totals.1, totals.2
    );
    for (fault, count) in faults {
        println!("nemesis: {fault:?} {count} times");
    }
    Ok(())
}

fn one(
    nodes: &mut Nodes,
    field: &Rc<Field>,
    seed: u64,
    lasts: Duration,
    counted: &mut BTreeMap<Fault, usize>,
) -> Result<Record, String> {
    let mut random = Random::new(seed);
    let began = Instant::now();
    let workload = Workload {
        prefix: format!("nemesis/{seed}/{}/", std::process::id()),
        began,
        ends: began + lasts,
        values: Arc::new(AtomicU64::new(1)),
    };
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|number| {
            // The impatient ones leave outcomes that nobody knows.
            let patience = if number % 2 == 0 { "700ms" } else { "5s" };
            let batch = nodes.client(&format!("batch --concurrency 2 --timeout {patience}"));
            Client::start(number, batch, workload.clone(), random.number())
        })
        .collect();
    let happened = faults::happen(nodes, field, &mut random, workload.ends)?;
    for fault in happened {
        *counted.entry(fault).or_default() += 1;
    }
    nodes.await_ready()?;
    let mut record = Record::default();
    for client in clients {
        record.extend(client.finish()?);
    }
    let keys = record.keys();
    let reader = nodes.client("batch --concurrency 8 --timeout 60s");
    record.extend(read_all(reader, &workload.prefix, &keys)?);
    Ok(record)
}
