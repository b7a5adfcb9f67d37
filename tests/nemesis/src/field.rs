//! The field: a host for each node and one for the clients, on one bridge.
//!
//! Hosts are network namespaces. What a host receives and sends passes a packet filter
//! of its own, in which rules cut the host off, wholly, one way, or now and then.

use crate::tool::{run, run_line};

/// How many nodes.
pub(crate) const NODES: usize = 3;
/// The host of the clients.
pub(crate) const CLIENTS: usize = NODES;
const PORT: u16 = 7401;

/// How a node is cut off from everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing gets through.
    Both,
    /// The node hears nothing, and is heard.
    Deaf,
    /// The node hears, and is not heard.
    Mute,
    /// Three packets in ten are lost, each way.
    Lossy,
    /// The node reaches nobody but the clients.
    FromPeers,
}

/// Hosts on a bridge. Dropping it takes all of it away.
pub(crate) struct Field {
    prefix: String,
}

impl Field {
    /// Lays it out.
    pub(crate) fn lay() -> Result<Self, String> {
        let _making = crate::ended::making_hosts();
        let field = Self {
            prefix: crate::ended::prefix(),
        };
        let switch = field.name("s");
        run("ip", &["netns", "add", &switch])?;
        run_line(&format!("ip -n {switch} link add bridge type bridge"))?;
        run_line(&format!("ip -n {switch} link set bridge up"))?;
        for host in 0..=CLIENTS {
            let name = field.host(host);
            run("ip", &["netns", "add", &name])?;
            run_line(&format!(
                "ip -n {switch} link add port{host} type veth peer name eth0 netns {name}"
            ))?;
            run_line(&format!(
                "ip -n {switch} link set port{host} master bridge up"
            ))?;
            run_line(&format!(
                "ip -n {name} address add {}/24 dev eth0",
                address_of(host)
            ))?;
            run_line(&format!("ip -n {name} link set eth0 up"))?;
            run_line(&format!("ip -n {name} link set lo up"))?;
            field.filter(host, "add table inet cut")?;
            field.filter(
                host,
                "add chain inet cut input { type filter hook input priority 0; }",
            )?;
            field.filter(
                host,
                "add chain inet cut output { type filter hook output priority 0; }",
            )?;
        }
        Ok(field)
    }

    /// The namespace of a host.
    pub(crate) fn host(&self, host: usize) -> String {
        self.name(&format!("h{host}"))
    }

    /// Where the node on `host` listens.
    pub(crate) fn address(host: usize) -> String {
        format!("{}:{PORT}", address_of(host))
    }

    /// Cuts a host off. Cuts add up.
    pub(crate) fn cut(&self, host: usize, cut: Cut) -> Result<(), String> {
        let rules: &[&str] = match cut {
            Cut::Both => &["input iif eth0 drop", "output oif eth0 drop"],
            Cut::Deaf => &["input iif eth0 drop"],
            Cut::Mute => &["output oif eth0 drop"],
            Cut::Lossy => &[
                "input iif eth0 numgen random mod 100 < 30 drop",
                "output oif eth0 numgen random mod 100 < 30 drop",
            ],
            Cut::FromPeers => {
                let clients = address_of(CLIENTS);
                self.filter(
                    host,
                    &format!("add rule inet cut input iif eth0 ip saddr != {clients} drop"),
                )?;
                return self.filter(
                    host,
                    &format!("add rule inet cut output oif eth0 ip daddr != {clients} drop"),
                );
            }
        };
        rules
            .iter()
            .try_for_each(|rule| self.filter(host, &format!("add rule inet cut {rule}")))
    }

    /// Takes back all cuts of a host.
    pub(crate) fn heal(&self, host: usize) -> Result<(), String> {
        self.filter(host, "flush chain inet cut input")?;
        self.filter(host, "flush chain inet cut output")
    }

    fn filter(&self, host: usize, rule: &str) -> Result<(), String> {
        // Not `ip netns exec`: the copy of the mounts that it gives its process would keep
        // a medium alive that another run has just taken away.
        let network = format!("--net=/run/netns/{}", self.host(host));
        let mut words = vec![network.as_str(), "nft"];
        words.extend(rule.split(' '));
        run("nsenter", &words)
    }

    fn name(&self, of: &str) -> String {
        format!("{}{of}", self.prefix)
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        for host in 0..=CLIENTS {
            let _ = run("ip", &["netns", "delete", &self.host(host)]);
        }
        let _ = run("ip", &["netns", "delete", &self.name("s")]);
    }
}

fn address_of(host: usize) -> String {
    format!("10.91.7.{}", host + 1)
}
