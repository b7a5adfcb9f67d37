//! The command line.

use clap::Parser;
use sealmoot_kv::mutant::Mutant;
use sealmoot_kv::quorum::Quorums;
use sealmoot_simulation::fault::Fault;
use sealmoot_simulation::mutants;
use sealmoot_simulation::plan::{Changes, Control, LogKind, OPERATIONS_MAX, Plan};
use sealmoot_simulation::settings::{Creation, Settings};

/// Runs seeded histories of the store's state machines and checks them.
#[derive(Debug, Parser)]
#[command(name = "checker")]
pub(crate) struct Options {
    /// How many histories
    #[arg(long, default_value_t = 1_000)]
    pub(crate) histories: u64,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) from: u64,
    /// Threads
    #[arg(long, default_value_t = 2)]
    pub(crate) jobs: usize,
    /// Operations a history
    #[arg(long, default_value_t = 100)]
    pub(crate) operations: usize,
    /// End after so many seconds, at the latest
    #[arg(long, value_name = "SECONDS")]
    pub(crate) budget: Option<u64>,
    /// Run each seed twice and compare the traces
    #[arg(long)]
    pub(crate) twice: bool,
    /// Run this one seed and tell every event
    #[arg(long, value_name = "SEED")]
    pub(crate) trace: Option<u64>,
    /// With --trace: only the operations
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Take this rule out (in a build with the feature "mutants")
    #[arg(long, value_name = "NAME")]
    pub(crate) mutant: Option<String>,
    /// Take out each rule in turn and print which history notices (feature "mutants")
    #[arg(long)]
    pub(crate) mutants: bool,
    /// Print what requests cost, counted
    #[arg(long)]
    pub(crate) costs: bool,
    /// Put in a fault that must be noticed
    #[arg(long, value_name = "NAME")]
    pub(crate) control: Option<String>,
    /// Judge by what clients see alone
    #[arg(long)]
    pub(crate) without_invariants: bool,
    /// Switch off these kinds of fault
    #[arg(long, value_name = "KIND,...", value_delimiter = ',')]
    pub(crate) without: Vec<String>,
    /// What lies under the nodes: model or real
    #[arg(long, value_name = "KIND")]
    pub(crate) log: Option<String>,
    /// Clients at a time
    #[arg(long)]
    pub(crate) clients: Option<usize>,
    /// Keys
    #[arg(long)]
    pub(crate) keys: Option<usize>,
    /// Whether members change: never, always, or in one history of four
    #[arg(long, value_name = "WHEN")]
    pub(crate) changes: Option<String>,
    /// Nodes: 3 or 5
    #[arg(long)]
    pub(crate) nodes: Option<usize>,
    /// W and R of the namespace
    #[arg(long, value_name = "W,R", value_delimiter = ',')]
    pub(crate) quorums: Vec<usize>,
    /// How the namespace gets its settings: claimed, before or raced
    #[arg(long, value_name = "KIND")]
    pub(crate) namespace: Option<String>,
    /// No client deletes anything
    #[arg(long)]
    pub(crate) without_deletions: bool,
}

impl Options {
    /// What is wrong with them.
    pub(crate) fn refuse(&self) -> Option<String> {
        let unknown = |kind: &&String| Fault::named(kind).is_none();
        if let Some(kind) = self.without.iter().find(unknown) {
            let names: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
            return Some(format!("no fault {kind:?}; there are {}", names.join(", ")));
        }
        if self.control.is_some() && self.control().is_none() {
            let names: Vec<&str> = Control::ALL.iter().map(|control| control.name()).collect();
            return Some(format!("no such control; there are {}", names.join(", ")));
        }
        if self.mutant.is_some() && self.mutant().is_none() {
            return Some(format!("no such mutant; there are {:?}", Mutant::ALL));
        }
        if (self.mutant.is_some() || self.mutants) && !cfg!(feature = "mutants") {
            return Some("mutants are not in this build; add --features mutants".to_owned());
        }
        if !matches!(self.log.as_deref(), None | Some("model" | "real")) {
            return Some("--log takes model or real".to_owned());
        }
        if !matches!(self.changes.as_deref(), None | Some("never" | "always")) {
            return Some("--changes takes never or always".to_owned());
        }
        if !(1..=OPERATIONS_MAX).contains(&self.operations) {
            return Some(format!("--operations takes 1 to {OPERATIONS_MAX}"));
        }
        if !matches!(self.nodes, None | Some(3 | 5)) || !matches!(self.keys, None | Some(1..=3)) {
            return Some("--nodes takes 3 or 5, --keys 1 to 3".to_owned());
        }
        if let Some(name) = &self.namespace
            && Creation::named(name).is_none()
        {
            return Some("--namespace takes claimed, before or raced".to_owned());
        }
        if let [write, read] = self.quorums[..] {
            let Some(nodes) = self.nodes else {
                return Some("--quorums takes effect for a number of --nodes".to_owned());
            };
            if let Err(bad) = Quorums::new(nodes, write, read) {
                return Some(format!("--quorums {write},{read}: {bad}"));
            }
        }
        if !matches!(self.clients, None | Some(1..=16)) || !(1..=256).contains(&self.jobs) {
            return Some("--clients takes 1 to 16, --jobs 1 to 256".to_owned());
        }
        None
    }

    /// The plan of a seed under these options.
    pub(crate) fn plan(&self, seed: u64) -> Plan {
        let mut plan = Plan::of_seed(seed, self.operations);
        for kind in self.without.iter().filter_map(|kind| Fault::named(kind)) {
            plan.faults = plan.faults.without(kind);
        }
        plan.control = self.control();
        plan.invariants = !self.without_invariants;
        match self.log.as_deref() {
            Some("model") => plan.log = LogKind::Model,
            Some("real") => plan.log = LogKind::Real,
            _ => {}
        }
        match self.changes.as_deref() {
            // What a control shows is shown by what clients see of fixed members.
            None if plan.control.is_some() => plan.changes = None,
            Some("never") => plan.changes = None,
            Some("always") => plan.changes = Some(Changes::of_seed(seed)),
            _ => {}
        }
        plan.clients = self.clients.unwrap_or(plan.clients);
        plan.keys = self.keys.unwrap_or(plan.keys);
        plan.set_nodes(self.nodes.unwrap_or(plan.nodes));
        if self.without_deletions {
            plan.rates.deletions = 0;
        }
        if let Some(settings) = self.settings(&plan) {
            plan.settings = settings;
        }
        plan.leave_to_changes();
        plan
    }

    /// The settings that were asked for, if they are possible for every plan that has
    /// as many nodes.
    fn settings(&self, plan: &Plan) -> Option<Settings> {
        let creation = self.namespace.as_deref().and_then(Creation::named);
        if creation == Some(Creation::Claimed) {
            return Some(Settings::claimed(plan.nodes));
        }
        let quorums = match self.quorums[..] {
            [write, read] => Quorums::new(plan.nodes, write, read).ok()?,
            _ => plan.settings.quorums,
        };
        let drawn = match plan.settings.creation {
            Creation::Claimed => Creation::Before,
            drawn => drawn,
        };
        if self.quorums.is_empty() && creation.is_none() {
            return None;
        }
        Some(Settings {
            quorums,
            creation: creation.unwrap_or(drawn),
        })
    }

    pub(crate) fn mutant(&self) -> Option<Mutant> {
        mutants::named(self.mutant.as_deref()?)
    }

    fn control(&self) -> Option<Control> {
        let name = self.control.as_deref()?;
        Control::ALL
            .into_iter()
            .find(|control| control.name() == name)
    }

    /// The arguments that run this plan again and tell every event.
    pub(crate) fn replay(&self, plan: &Plan) -> String {
        let mut words = vec![
            format!("--trace {} --operations {}", plan.seed, plan.operations),
            format!(
                "--clients {} --keys {} --nodes {}",
                plan.clients, plan.keys, plan.nodes
            ),
            match plan.log {
                LogKind::Model => "--log model".to_owned(),
                LogKind::Real => "--log real".to_owned(),
            },
        ];
        let quorums = plan.settings.quorums;
        words.push(match plan.settings.creation {
            Creation::Claimed => "--namespace claimed".to_owned(),
            creation => format!(
                "--namespace {} --quorums {},{}",
                creation.name(),
                quorums.write(),
                quorums.read()
            ),
        });
        if plan.rates.deletions == 0 {
            words.push("--without-deletions".to_owned());
        }
        words.push(match plan.changes {
            None => "--changes never".to_owned(),
            Some(_) => "--changes always".to_owned(),
        });
        let drawn = Plan::of_seed(plan.seed, plan.operations).faults;
        let without: Vec<&str> = drawn
            .iter()
            .filter(|fault| !plan.faults.has(*fault))
            .map(Fault::name)
            .collect();
        if !without.is_empty() {
            words.push(format!("--without {}", without.join(",")));
        }
        if let Some(control) = plan.control {
            words.push(format!("--control {}", control.name()));
        }
        if let Some(mutant) = &self.mutant {
            words.push(format!("--mutant {mutant}"));
        }
        if !plan.invariants {
            words.push("--without-invariants".to_owned());
        }
        words.join(" ")
    }
}
