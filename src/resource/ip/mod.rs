//! ip: a service address on an interface of this node, or in a container.

mod container;

use super::common::dockerd::Daemon;
use super::{Done, Driver, Dropped, Resource};
use crate::cmd::{Cmd, End};
use crate::config::keyword::{Keyword, Type::Text};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::facts::Address;
use crate::host::patience::wait_until;
use crate::host::{Cx, Host};
use crate::report::Probe;
use crate::status::Status;
use std::net::IpAddr;
use std::time::Duration;

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    kind: "ip",
    types: &[],
    rtype: "ip",
    about: "an address the service is reached at",
    keywords: &[
        Keyword::new("ipname", Text, "host name or address").required().example("10.0.0.10"),
        Keyword::new("ipdev", Text, "interface that gets the address").required().example("eth0"),
        Keyword::new("netmask", Text, "dotted quad or prefix length; default: that of the interface's first address"),
        Keyword::new("gateway", Text, "default route of the container (with container_rid)"),
        Keyword::new("container_rid", Text, "puts the address into this docker container; default with type = docker: container#0"),
        Keyword::new("zone", Text, "accepted, unused on Linux"),
    ],
    build,
};

/// Linux: an interface label has at most 15 characters (IFNAMSIZ with its zero).
const LABEL_MAX: usize = 15;
/// An interface may have that many aliases before we stop looking for a free one.
const ALIASES: u32 = 1000;

struct Ip {
    name: String,
    dev: String,
    netmask: Option<String>,
    announced: bool,
    alias: bool,
}

fn build(p: &Params) -> std::result::Result<Box<dyn Resource>, Dropped> {
    let node = &p.config.scope.node;
    let section = p.section;
    let name = p.text("ipname").ok_or_else(|| format!("nor ipname and ipname@{node} defined in config file section {section}"))?;
    let dev = p.required("ipdev")?;
    let docker = p.text("type").is_some_and(|t| t.eq_ignore_ascii_case("docker"));
    let container = p.text("container_rid").map(str::to_owned).or_else(|| docker.then(|| "container#0".to_owned()));
    let tags = p.words("tags");
    let tagged = |tag: &str| tags.iter().any(|t| t == tag);
    let netmask = p.text("netmask").map(str::to_owned);
    let (name, dev, announced) = (name.to_owned(), dev.to_owned(), !tagged("nonrouted"));
    if let Some(container) = container {
        let daemon = Daemon::of(p.config);
        if daemon.member(&container).is_none() {
            return Err(format!("container_rid of section {section}: there is no docker container {container} in the file").into());
        }
        let gateway = p.text("gateway").map(str::to_owned);
        let dedicated = tagged("dedicated");
        return Ok(Box::new(container::Inside { daemon, container, name, dev, netmask, gateway, announced, dedicated }));
    }
    Ok(Box::new(Ip { name, dev, netmask, announced, alias: !tagged("noalias") }))
}

fn resolved(cx: &Cx, name: &str) -> Result<IpAddr> {
    cx.host.facts.resolve(name).ok_or_else(|| Error::text(format!("could not resolve {name} to an ip address")))
}

/// The prefix length: as the file says, or that of the interface's first address.
fn prefix(cx: &Cx, netmask: Option<&str>, dev: &str, addr: IpAddr) -> Result<u8> {
    if let Some(mask) = netmask {
        return parse_mask(mask, addr).ok_or_else(|| Error::text(format!("netmask {mask} is neither a prefix length nor a dotted quad")));
    }
    let addresses = cx.host.facts.addresses();
    let like = |a: &&Address| a.device() == dev && a.addr.is_some_and(|x| x.is_ipv4() == addr.is_ipv4()) && a.prefix > 0;
    match addresses.iter().find(like) {
        Some(a) => Ok(a.prefix),
        None => Err(Error::text(format!("No netmask set on parent interface {dev}: set netmask in section {}", cx.rid))),
    }
}

/// Someone else answers at the address. Arping for IPv4 (at most 1 s), ping where arping cannot.
fn taken(cx: &Cx, dev: &str, addr: IpAddr) -> bool {
    let ip = addr.to_string();
    if addr.is_ipv4() {
        let out = cx.probe(&Cmd::probe(["arping", "-D", "-q", "-c", "1", "-w", "1", "-I", dev, &ip]).timeout(Duration::from_secs(5)));
        match out.stages.first().map(|s| &s.end) {
            Some(End::Exited(0)) => return false,
            Some(End::Exited(1)) => return true,
            _ => {} // no arping, or the interface cannot ARP: ask by ping
        }
    }
    let ping = if addr.is_ipv6() { ["ping", "-6"] } else { ["ping", "-4"] };
    cx.probe(&Cmd::probe([ping.as_slice(), &["-c", "1", "-W", "1", "-w", "1", &ip]].concat()).timeout(Duration::from_secs(5))).ok()
}

fn check_device(cx: &Cx, dev: &str) -> Result<()> {
    let addresses = cx.host.facts.addresses();
    match addresses.iter().find(|a| a.label == dev) {
        None => Err(format!("interface {dev} not found. Cannot stack over it.")),
        Some(a) if !a.up => Err(format!("interface {dev} is not up. Cannot stack over it.")),
        Some(_) => Ok(()),
    }
    .map_err(|why| {
        cx.log.error(why);
        Error::Reported
    })
}

fn environment(host: &Host, rid: &str, name: &str, dev: &str, netmask: Option<&str>) -> Vec<(String, String)> {
    let addr = host.facts.resolve(name).map_or("unknown".into(), |a| a.to_string());
    let mask = netmask.unwrap_or("unknown").to_owned();
    let index = crate::rid::split(rid).1.unwrap_or("");
    vec![
        ("OPENSVC_IPDEV".into(), dev.into()),
        ("OPENSVC_IPNAME".into(), name.into()),
        ("OPENSVC_MASK".into(), mask.clone()),
        ("OPENSVC_IPADDR".into(), addr.clone()),
        (format!("OPENSVC_IP{index}"), format!("{name} {dev} {addr} {mask}")),
    ]
}

impl Ip {
    /// Where the address is on this node.
    fn found(cx: &Cx, addr: IpAddr) -> Option<Address> {
        cx.host.facts.addresses().iter().find(|a| a.addr == Some(addr)).cloned()
    }

    /// The first free `eth0:N`, unless labels are not wanted or too long.
    fn label(&self, cx: &Cx, addr: IpAddr) -> Option<String> {
        if !self.alias || addr.is_ipv6() {
            return None;
        }
        let addresses = cx.host.facts.addresses();
        (1..ALIASES).map(|n| format!("{}:{n}", self.dev)).find(|l| addresses.iter().all(|a| a.label != *l)).filter(|l| l.len() <= LABEL_MAX)
    }

    fn add(&self, cx: &Cx, addr: IpAddr) -> Result<()> {
        let lock = crate::host::lock::Lock::wait(&cx.host.paths.var.join("lock/startip"), Duration::from_secs(30))?;
        let cidr = format!("{addr}/{}", prefix(cx, self.netmask.as_deref(), &self.dev, addr)?);
        let mut argv = vec!["ip".to_owned(), "addr".into(), "add".into(), cidr, "dev".into(), self.dev.clone()];
        if let Some(label) = self.label(cx, addr) {
            argv.extend(["label".to_owned(), label]);
        }
        if addr.is_ipv6() {
            argv.push("nodad".into()); // the conflict check was ours; launchers must be able to bind at once
        }
        cx.must(&Cmd::change(argv))?;
        drop(lock);
        Ok(())
    }

    fn announce(&self, cx: &Cx, addr: IpAddr) {
        if !addr.is_ipv4() || !self.announced {
            return;
        }
        let ip = addr.to_string();
        if which::which("arping").is_err() {
            cx.log.warning("arp announce skipped. install 'arping'");
            return;
        }
        // waits a second for answers that never come: in the background
        cx.run(&Cmd::change(["arping", "-U", "-q", "-c", "1", "-I", &self.dev, "-s", &ip, &ip]).background());
    }
}

fn parse_mask(mask: &str, addr: IpAddr) -> Option<u8> {
    let max = if addr.is_ipv4() { 32 } else { 128 };
    if let Ok(prefix) = mask.parse::<u8>() {
        return (prefix <= max).then_some(prefix);
    }
    let IpAddr::V4(quad) = mask.parse().ok()? else { return None };
    let bits = quad.to_bits();
    // only masks without holes
    (addr.is_ipv4() && bits.leading_ones() == bits.count_ones()).then(|| u8::try_from(bits.count_ones()).unwrap_or(32))
}

impl Resource for Ip {
    fn label(&self, _host: &Host) -> String {
        format!("{}@{}", self.name, self.dev)
    }

    fn status(&self, cx: &Cx) -> Probe {
        match cx.host.facts.resolve(&self.name) {
            None => Probe::because(Status::Warn, format!("could not resolve {} to an ip address", self.name)),
            Some(addr) => Probe::up_if(Self::found(cx, addr).is_some()),
        }
    }

    fn conflict(&self, cx: &Cx) -> Result<()> {
        if !self.announced {
            return Ok(());
        }
        let addr = resolved(cx, &self.name)?;
        cx.log.info(format!("checking {addr} availability"));
        if Self::found(cx, addr).is_none() && taken(cx, &self.dev, addr) {
            cx.log.error(format!("{addr} is already up on another host"));
            return Err(Error::text(format!("start aborted due to resource {} conflict", cx.rid)));
        }
        Ok(())
    }

    fn start(&self, cx: &Cx) -> Result<Done> {
        let addr = resolved(cx, &self.name)?;
        if Self::found(cx, addr).is_some() {
            cx.log.info(format!("{addr} is already up on {}", self.dev));
            return Ok(Done::Already);
        }
        check_device(cx, &self.dev)?;
        self.add(cx, addr)?;
        wait_until(Duration::from_secs(5), || {
            cx.host.facts.forget();
            Self::found(cx, addr).is_some()
        })
        .then_some(())
        .ok_or_else(|| Error::text(format!("{addr} did not come up on {}", self.dev)))?;
        self.announce(cx, addr);
        Ok(Done::Changed)
    }

    fn stop(&self, cx: &Cx) -> Result<Done> {
        let addr = resolved(cx, &self.name)?;
        let Some(at) = Self::found(cx, addr) else {
            cx.log.info(format!("{addr} is already down on {}", self.dev));
            return Ok(Done::Already);
        };
        if at.device() != self.dev {
            cx.log.error(format!("{addr} is plumbed but not on {}: it is on {}", self.dev, at.label));
            return Err(Error::Reported);
        }
        // only the address goes: a base interface is never taken down
        cx.must(&Cmd::change(["ip", "addr", "del", &format!("{addr}/{}", at.prefix), "dev", &self.dev]))?;
        if wait_until(Duration::from_secs(5), || {
            cx.host.facts.forget();
            Self::found(cx, addr).is_none()
        }) {
            Ok(Done::Changed)
        } else {
            cx.log.error(format!("{addr} refuse to go down"));
            Err(Error::Reported)
        }
    }

    fn environment(&self, host: &Host, rid: &str) -> Vec<(String, String)> {
        environment(host, rid, &self.name, &self.dev, self.netmask.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::parse_mask;

    #[test]
    fn masks_in_both_notations() {
        let v4 = "10.0.0.1".parse().unwrap();
        let v6 = "fd99::1".parse().unwrap();
        for (mask, addr, want) in [
            ("255.255.255.224", v4, Some(27)),
            ("24", v4, Some(24)),
            ("0.0.0.0", v4, Some(0)),
            ("255.0.255.0", v4, None),
            ("33", v4, None),
            ("64", v6, Some(64)),
            ("255.255.255.0", v6, None),
            ("x", v4, None),
        ] {
            assert_eq!(parse_mask(mask, addr), want, "{mask}");
        }
    }
}
