//! Three nodes in one home, as a realm called acme with an administrator called
//! alice, who is logged in.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::binaries::Program;
use crate::command::{Outcome, send_signals};
use crate::home::{Home, Run};
use crate::node::Node;
use crate::poll::eventually;
use crate::ports::Ports;

/// The nodes' names.
pub const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// A cluster. Its nodes are children of the test and end with it.
pub struct Cluster {
    // Nodes end before their directories do.
    nodes: [Option<Node>; 3],
    /// Where all of it lies.
    pub home: Home,
    /// Where the nodes listen.
    pub ports: Ports,
    /// The realm's id.
    pub realm: String,
}

impl Cluster {
    /// Forms one.
    ///
    /// # Panics
    /// When any step fails.
    #[must_use]
    pub fn form() -> Self {
        Self::form_in(Home::new())
    }

    /// Forms one in a home that is otherwise empty.
    ///
    /// # Panics
    /// When any step fails.
    #[must_use]
    pub fn form_in(home: Home) -> Self {
        let realm = home.realm("acme");
        home.user("alice", "admin");
        let mut cluster = Self {
            nodes: [None, None, None],
            home,
            ports: Ports::reserve(3),
            realm,
        };
        cluster.invite("--out .").succeeded();
        // Kept from before they are used up.
        for name in NAMES {
            let kept = cluster.home.path(format!("{name}.copy"));
            fs::copy(cluster.home.path(format!("{name}.invite")), kept).expect("an invite");
        }
        for (index, name) in NAMES.iter().enumerate() {
            let join = format!("join {name}.invite --data {name}");
            cluster.nodes[index] = Some(cluster.foreground(name, &join));
        }
        cluster.await_ready();
        cluster.log_in("alice").succeeded();
        cluster
    }

    /// A cluster shared by all tests of this process that run just now. They leave
    /// its nodes alone, and keep to keys and users of their own.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::form());
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// Runs `authctl node invite` for the three nodes, with further arguments.
    #[must_use]
    pub fn invite(&self, more: &str) -> Outcome {
        invite(&self.home, &self.ports, more)
    }

    /// Logs in with the password of the tests, as a context of the user's name.
    #[must_use]
    pub fn log_in(&self, user: &str) -> Outcome {
        let (address, realm) = (self.ports.address(0), &self.realm);
        self.kv(&format!(
            "login {user}@{address} --realm {realm} --password-file pw --context {user} --timeout 60s"
        ))
    }

    /// Waits until every node says that it reaches every other one.
    #[track_caller]
    pub fn await_whole(&self) {
        for index in 0..NAMES.len() {
            let at = self.ports.address(index);
            let status = format!("cluster status -o json --endpoints {at}");
            eventually("every node is up", Duration::from_secs(60), || {
                let told = self.kv(&status);
                let is_whole = told.exit == 0 && told.data("cluster_status")["state"] == "ok";
                is_whole.then_some(())
            });
        }
    }

    /// Runs `kv` with these arguments, parted at spaces, as alice unless they say
    /// otherwise.
    #[must_use]
    pub fn kv(&self, arguments: &str) -> Outcome {
        self.kv_run(arguments).finish()
    }

    /// The same, to be added to.
    #[must_use]
    pub fn kv_run(&self, arguments: &str) -> Run {
        self.home
            .run(Program::Kv, arguments)
            // A flag goes before the environment.
            .env("SEALMOOT_CONTEXT", "alice")
    }

    /// The data directory of a node.
    #[must_use]
    pub fn data(&self, index: usize) -> PathBuf {
        self.home.path(NAMES[index])
    }

    /// The process of a running node.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self, index: usize) -> u32 {
        self.nodes[index].as_ref().expect("it runs").pid()
    }

    /// Starts a node without waiting until it is ready.
    pub fn launch(&mut self, index: usize) -> &mut Node {
        let name = NAMES[index];
        let node = self.foreground(name, &format!("start --data {name}"));
        self.nodes[index].insert(node)
    }

    /// Starts a node with more arguments, parted at spaces, and waits until it is ready.
    #[track_caller]
    pub fn start_with(&mut self, index: usize, more: &str) {
        let name = NAMES[index];
        let node = self.foreground(name, &format!("start --data {name} {more}"));
        self.nodes[index].insert(node).ready();
    }

    /// Starts these nodes and waits until they are ready.
    #[track_caller]
    pub fn start(&mut self, indices: &[usize]) {
        for &index in indices {
            self.launch(index);
        }
        for &index in indices {
            self.nodes[index].as_mut().expect("it runs").ready();
        }
    }

    /// Stops a node in good order.
    #[track_caller]
    pub fn stop(&mut self, index: usize) {
        let mut node = self.nodes[index].take().expect("it runs");
        assert_eq!(node.terminate(), 0, "{}", node.messages());
    }

    /// Kills these nodes at once.
    pub fn kill(&mut self, indices: &[usize]) {
        let pids: Vec<u32> = indices.iter().map(|&index| self.pid(index)).collect();
        send_signals(&pids, "KILL");
        for &index in indices {
            self.nodes[index] = None;
        }
    }

    #[track_caller]
    fn await_ready(&mut self) {
        for (node, name) in self.nodes.iter_mut().zip(NAMES) {
            let line = node.as_mut().expect("it was started").ready();
            assert!(line.starts_with(&format!("READY {name} ")), "{line}");
        }
    }

    fn foreground(&self, name: &str, arguments: &str) -> Node {
        let command = self.home.run(Program::Kvd, arguments).into_command();
        Node::run(command, self.home.path(format!("{name}.messages")))
    }
}

/// Runs `authctl node invite` for three nodes at these ports.
#[must_use]
pub fn invite(home: &Home, ports: &Ports, more: &str) -> Outcome {
    let nodes: Vec<String> = NAMES
        .iter()
        .enumerate()
        .map(|(index, name)| format!("{name}={}", ports.address(index)))
        .collect();
    let nodes = nodes.join(" ");
    home.authctl(&format!("node invite {nodes} --passphrase-file pp {more}"))
}
