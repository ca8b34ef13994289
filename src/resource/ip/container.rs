//! An address in the network of a container: put there with iproute2 from outside, seen in /proc; nothing of the image is run.

use super::{check_device, environment, prefix, resolved, taken};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::host::engine::{Container, Silence, short};
use crate::host::lock::Lock;
use crate::host::patience::wait_until;
use crate::host::{Cx, Host};
use crate::report::Probe;
use crate::resource::common::dockerd::Daemon;
use crate::resource::{Done, Resource};
use crate::status::Status;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// How long an address that was added may take to be seen.
const SETTLE: Duration = Duration::from_secs(5);
/// Interfaces of a container that are looked through for a free name.
const INTERFACES: u32 = 100;

/// How the container is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A cable to a bridge of this node.
    Bridge,
    /// A second address of a card of this node.
    Macvlan,
    /// The card itself.
    Dedicated,
}

/// The address.
pub struct Inside {
    pub daemon: Daemon,
    /// The container's section.
    pub container: String,
    pub name: String,
    pub dev: String,
    pub netmask: Option<String>,
    pub gateway: Option<String>,
    /// Answers on the network: others are asked before, and told after.
    pub announced: bool,
    pub dedicated: bool,
}

/// The address is one of the network that process `pid` is in.
fn has(pid: i32, addr: IpAddr) -> bool {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
    match addr {
        IpAddr::V4(_) => local(&read("fib_trie")).any(|a| a == addr.to_string()),
        IpAddr::V6(v6) => {
            let digits = format!("{:032x}", v6.to_bits());
            read("if_inet6").lines().any(|l| l.starts_with(&digits))
        }
    }
}

/// The addresses of a network's own in its `fib_trie` (proc(5), Documentation/networking/fib_trie.rst): a leaf, then
/// what leads there.
fn local(trie: &str) -> impl Iterator<Item = &str> {
    let mut leaf = "";
    trie.lines().filter_map(move |line| match line.trim().strip_prefix("|-- ") {
        Some(address) => {
            leaf = address;
            None
        }
        None => line.trim_end().ends_with("/32 host LOCAL").then_some(leaf),
    })
}

/// The first `ethN`, N from 1, that the network of `pid` does not have (`net/dev`: a line `NAME: counters` each).
fn free_name(pid: i32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let used: Vec<&str> = text.lines().filter_map(|l| l.split_once(':')).map(|(name, _)| name.trim()).collect();
    (1..INTERFACES).map(|n| format!("eth{n}")).find(|name| !used.contains(&name.as_str())).unwrap_or_else(|| format!("eth{INTERFACES}"))
}

impl Inside {
    fn running(&self, host: &Host) -> Option<Container> {
        let heard = self.daemon.look(host);
        let (name, _) = self.daemon.member(&self.container)?;
        heard.as_ref().as_ref().ok()?.container(name).filter(|c| c.running && c.pid > 0).cloned()
    }

    fn mode(&self) -> Mode {
        if self.dedicated {
            Mode::Dedicated
        } else if Path::new("/sys/class/net").join(&self.dev).join("bridge").exists() {
            Mode::Bridge
        } else {
            Mode::Macvlan
        }
    }

    /// Gives the container an interface called `name`.
    fn plug(&self, cx: &Cx, pid: &str, name: &str) -> Result<()> {
        let dev = self.dev.as_str();
        let mtu = std::fs::read_to_string(format!("/sys/class/net/{dev}/mtu")).map_or_else(|_| "1500".into(), |m| m.trim().to_owned());
        let ip = |words: &[&str]| cx.must(&Cmd::change(std::iter::once("ip").chain(words.iter().copied())));
        match self.mode() {
            Mode::Bridge => {
                cx.log.info("bridge mode");
                let end = format!("v{name}pl{pid}");
                ip(&["link", "add", "name", &end, "mtu", &mtu, "type", "veth", "peer", "name", name, "mtu", &mtu, "netns", pid])?;
                ip(&["link", "set", &end, "master", dev, "up"])
            }
            Mode::Macvlan => {
                cx.log.info("macvlan mode");
                ip(&["link", "add", "link", dev, "name", name, "mtu", &mtu, "netns", pid, "type", "macvlan", "mode", "bridge"])
            }
            Mode::Dedicated => {
                cx.log.info("dedicated mode");
                ip(&["link", "set", dev, "netns", pid, "name", name])
            }
        }
        .map(|_| ())
    }

    fn address(&self, cx: &Cx, pid: &str, name: &str, addr: IpAddr, prefix: u8) -> Result<()> {
        let cidr = format!("{addr}/{prefix}");
        let mut add = vec!["addr", "add", &cidr, "dev", name];
        if addr.is_ipv6() {
            add.push("nodad"); // the conflict check was ours
        }
        cx.must(&within_net(pid, &add))?;
        cx.must(&within_net(pid, &["link", "set", name, "up"]))?;
        if let Some(gateway) = &self.gateway {
            cx.must(&within_net(pid, &["route", "replace", "default", "via", gateway, "dev", name]))?;
        }
        Ok(())
    }

    /// Takes the interface away again: the card back to this node, all else with its cable.
    fn unplug(&self, cx: &Cx, pid: &str, name: &str) -> Result<()> {
        if !self.dedicated {
            return cx.must(&within_net(pid, &["link", "del", name])).map(|_| ());
        }
        let ours = std::process::id().to_string();
        cx.must(&within_net(pid, &["addr", "flush", "dev", name]))?;
        cx.must(&within_net(pid, &["link", "set", name, "down", "netns", &ours, "name", &self.dev]))?;
        cx.must(&Cmd::change(["ip", "link", "set", &self.dev, "up"])).map(|_| ())
    }

    fn announce(&self, cx: &Cx, pid: &str, name: &str, addr: IpAddr) {
        if !addr.is_ipv4() || !self.announced {
            return;
        }
        if crate::cmd::find("arping").is_none() {
            cx.log.warning("arp announce skipped. install 'arping'");
            return;
        }
        let net = format!("--net=/proc/{pid}/ns/net");
        let addr = addr.to_string();
        cx.run(&Cmd::change(["nsenter", &net, "arping", "-A", "-c", "1", "-I", name, &addr]).background());
    }
}

/// `ip WORDS` in the network of process `pid`, with the node's own program.
fn within_net(pid: &str, words: &[&str]) -> Cmd {
    let net = format!("--net=/proc/{pid}/ns/net");
    Cmd::change(["nsenter", &net, "ip"].into_iter().chain(words.iter().copied()))
}

impl Resource for Inside {
    fn label(&self, host: &Host) -> String {
        let heard = self.daemon.heard(host);
        let name = self.daemon.member(&self.container).map(|(name, _)| name).unwrap_or_default();
        let container = heard.as_deref().and_then(|h| h.as_ref().ok()).and_then(|e| e.container(name));
        let place = container.map_or(self.container.as_str(), |c| short(&c.id));
        format!("{}@{}@{place}", self.name, self.dev)
    }

    fn status(&self, cx: &Cx) -> Probe {
        match cx.host.facts.resolve(&self.name) {
            None => Probe::because(Status::Warn, format!("could not resolve {} to an ip address", self.name)),
            Some(addr) => Probe::up_if(self.running(cx.host).is_some_and(|c| has(c.pid, addr))),
        }
    }

    fn conflict(&self, cx: &Cx) -> Result<()> {
        if !self.announced {
            return Ok(());
        }
        let addr = resolved(cx, &self.name)?;
        // a card that is in the container cannot ask
        let card = cx.host.facts.addresses().iter().any(|a| a.label == self.dev);
        cx.log.info(format!("checking {addr} availability"));
        if card && !self.running(cx.host).is_some_and(|c| has(c.pid, addr)) && taken(cx, &self.dev, addr) {
            cx.log.error(format!("{addr} is already up on another host"));
            return Err(Error::text(format!("start aborted due to resource {} conflict", cx.rid)));
        }
        Ok(())
    }

    fn start(&self, cx: &Cx) -> Result<Done> {
        let addr = resolved(cx, &self.name)?;
        let Some(container) = self.running(cx.host) else {
            if let Err(Silence::Mute(why)) = self.daemon.look(cx.host).as_ref() {
                return Err(self.daemon.mute(cx.host, why));
            }
            let (rid, name) = (&self.container, cx.service);
            return Err(Error::text(format!("{addr} belongs in {rid}, which does not run. first: svcmgr -s {name} --rid {rid} start")));
        };
        if has(container.pid, addr) {
            cx.log.info(format!("{addr} is already up on {} in {}", self.dev, short(&container.id)));
            return Ok(Done::Already);
        }
        check_device(cx, &self.dev)?;
        let prefix = prefix(cx, self.netmask.as_deref(), &self.dev, addr)?;
        let _lock = Lock::wait(&cx.host.paths.var.join("lock/startip"), Duration::from_secs(30))?;
        let (pid, name) = (container.pid.to_string(), free_name(container.pid));
        let up = self.plug(cx, &pid, &name).and_then(|()| {
            self.address(cx, &pid, &name, addr, prefix).inspect_err(|_| {
                _ = self.unplug(cx, &pid, &name); // what it says is in the log
            })
        });
        up?;
        if !wait_until(SETTLE, || has(container.pid, addr)) {
            return Err(Error::text(format!("{addr} did not come up in {}", self.container)));
        }
        self.announce(cx, &pid, &name, addr);
        Ok(Done::Changed)
    }

    fn stop(&self, cx: &Cx) -> Result<Done> {
        let addr = resolved(cx, &self.name)?;
        let Some(container) = self.running(cx.host).filter(|c| has(c.pid, addr)) else {
            cx.log.info(format!("{addr} is already down on {}", self.dev));
            return Ok(Done::Already);
        };
        let (pid, ip) = (container.pid.to_string(), addr.to_string());
        let net = format!("--net=/proc/{pid}/ns/net");
        let found = cx.probe(&Cmd::probe(["nsenter", &net, "ip", "-o", "addr", "show", "to", &ip]));
        // "7: eth1    inet 10.0.3.3/24 …"
        let text = found.text();
        let line = text.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>();
        let [_, name, _, cidr, ..] = line.as_slice() else {
            return Err(Error::text(format!("cannot tell which interface of {} has {addr}", self.container)));
        };
        let name = name.split('@').next().unwrap_or(name);
        if name == "eth0" || name == "lo" {
            // the engine's own: only the address is ours
            cx.must(&within_net(&pid, &["addr", "del", cidr, "dev", name]))?;
        } else {
            self.unplug(cx, &pid, name)?;
        }
        if wait_until(SETTLE, || !has(container.pid, addr)) {
            return Ok(Done::Changed);
        }
        Err(Error::text(format!("{addr} refuse to go down")))
    }

    fn inside(&self) -> Option<&str> {
        Some(&self.container)
    }

    fn environment(&self, host: &Host, rid: &str) -> Vec<(String, String)> {
        environment(host, rid, &self.name, &self.dev, self.netmask.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_found_in_the_routes() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 10.0.3.0/24 2 0 2\n        |-- 10.0.3.0\n           \
                    /24 link UNICAST\n        |-- 10.0.3.3\n           /32 host LOCAL\n        |-- 10.0.3.255\n           /32 link BROADCAST\n\
                    Local:\n     |-- 127.0.0.0\n        /8 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(local(trie).collect::<Vec<_>>(), ["10.0.3.3", "127.0.0.1"]);
    }

    #[test]
    fn this_process_has_the_loopback() {
        let pid = std::process::id().cast_signed();
        assert!(has(pid, "127.0.0.1".parse().unwrap()));
        assert!(!has(pid, "192.0.2.77".parse().unwrap()));
        assert!(free_name(pid).starts_with("eth"));
    }
}
