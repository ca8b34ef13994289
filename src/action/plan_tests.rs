//! The order of a start and a stop, as text.

use super::*;
use crate::action::Options;
use crate::config::env::EnvFile;
use crate::service::build;
use std::path::Path;
use std::sync::Arc;

const ENV: &str = "
[DEFAULT]
nodes = n1
drpnodes = n2
service_type = TST
[ip#10]
ipname = 10.0.0.10
ipdev = eth0
[ip#2]
ipname = 10.0.0.2
ipdev = eth0
tags = front
[vg#1]
vgname = vg1
always_on = drpnodes
[loop#1]
file = /srv/x.img
[fs#1]
dev = /dev/vg1/a
mnt = /srv/b
[fs#2]
dev = /dev/vg1/b
mnt = /srv/a
optional = true
[fs#3]
dev = none
mnt = /srv/c
subset = late
[fs#4]
dev = none
mnt = /srv/d
subset = late
[subset#fs:late]
parallel = true
[app#1]
script = one
start = 20
stop = 5
[app#2]
script = two
start = 10
stop = 10
[app#3]
script = three
[fs#9]
dev = none
mnt = /srv/z
disable = true
";

const CONTAINERS: &str = "
[DEFAULT]
nodes = n1
service_type = TST
[ip#0]
type = docker
ipname = 10.0.0.10
ipdev = eth0
[ip#1]
container_rid = container#1
ipname = 10.0.0.11
ipdev = eth0
[ip#2]
ipname = 10.0.0.12
ipdev = eth0
[container#1]
type = docker
run_image = a:1
[container#0]
type = docker
run_image = a:1
";

fn shown(node: &str, pass: &Pass, options: &Options) -> String {
    shown_of(ENV, node, pass, options)
}

fn shown_of(env: &str, node: &str, pass: &Pass, options: &Options) -> String {
    let host = Host::fake(node, Path::new("/nowhere"));
    let env = EnvFile::parse(Path::new("x.env"), env).unwrap();
    let service = build::build(&host, "x", Arc::new(env)).unwrap();
    let selection = Selection::of(&service, options).unwrap();
    let plan = plan(&service, &host, "x", pass, &selection, None);
    let step = |s: &Step| if s.verb == Verb::Skip { format!("({})", s.rid) } else { s.rid.clone() };
    let stage = |s: &Stage| s.steps.iter().map(step).collect::<Vec<_>>().join(if s.parallel { "|" } else { " " });
    plan.stages.iter().map(stage).collect::<Vec<_>>().join(" ")
}

#[test]
fn start_and_stop_in_order() {
    let all = Options::default();
    assert_eq!(shown("n1", &Pass::START, &all), "ip#10 ip#2 loop#1 vg#1 fs#2 fs#1 fs#3|fs#4 app#3 app#2 app#1");
    assert_eq!(shown("n1", &Pass::stop(false), &all), "app#3 app#1 app#2 fs#4|fs#3 fs#1 fs#2 vg#1 loop#1 ip#2 ip#10");
}

#[test]
fn standby_resources() {
    let all = Options::default();
    let of = |id, force| Pass::of(id, force).unwrap();
    assert_eq!(shown("n2", &of(Id::StopGroup(Group::Disk), false), &all), "(vg#1) loop#1");
    assert_eq!(shown("n2", &of(Id::StopGroup(Group::Disk), true), &all), "vg#1 loop#1");
    assert_eq!(shown("n2", &of(Id::StartStandby, false), &all), "vg#1");
    assert_eq!(shown("n1", &of(Id::StartStandby, false), &all), "");
    assert_eq!(shown("n2", &of(Id::Shutdown, false), &all), "app#3 app#2 app#1 fs#4|fs#3 fs#1 fs#2 vg#1 loop#1 ip#2 ip#10");
}

#[test]
fn groups_and_selections() {
    let only = |rids: &[&str], tags: &[&str]| Options {
        rids: rids.iter().map(|s| (*s).to_owned()).collect(),
        tags: tags.iter().map(|s| (*s).to_owned()).collect(),
        ..Options::default()
    };
    let of = |id| Pass::of(id, false).unwrap();
    assert_eq!(shown("n1", &of(Id::StartGroup(Group::Fs)), &only(&[], &[])), "loop#1 vg#1 fs#2 fs#1 fs#3|fs#4");
    assert_eq!(shown("n1", &of(Id::StartGroup(Group::Loop)), &only(&[], &[])), "loop#1");
    assert_eq!(shown("n1", &Pass::START, &only(&["fs#1", "app"], &["front"])), "ip#2 fs#1 app#3 app#2 app#1");
}

#[test]
fn an_address_goes_with_its_container() {
    let parallel = CONTAINERS.replace("run_image = a:1", "run_image = a:1\nsubset = s") + "[subset#container:s]\nparallel = true\n";
    let of = |env: &str, pass: &Pass, rids: &[&str]| {
        let options = Options { rids: rids.iter().map(|s| (*s).to_owned()).collect(), ..Options::default() };
        shown_of(env, "n1", pass, &options)
    };
    let (start, stop) = (Pass::START, Pass::stop(false));
    assert_eq!(of(CONTAINERS, &start, &[]), "ip#2 container#0 ip#0 container#1 ip#1");
    assert_eq!(of(CONTAINERS, &stop, &[]), "ip#1 container#1 ip#0 container#0 ip#2");
    assert_eq!(of(&parallel, &start, &[]), "ip#2 container#0|container#1 ip#0 ip#1");
    assert_eq!(of(&parallel, &stop, &[]), "ip#1 ip#0 container#1|container#0 ip#2");
    // alone it goes alone; the container takes it along
    assert_eq!(of(CONTAINERS, &start, &["ip#0"]), "ip#0");
    assert_eq!(of(CONTAINERS, &stop, &["container#1"]), "ip#1 container#1");
    assert_eq!(of(CONTAINERS, &Pass::of(Id::StartGroup(Group::Ip), false).unwrap(), &[]), "ip#2");
    assert_eq!(of(CONTAINERS, &Pass::of(Id::StopGroup(Group::Container), false).unwrap(), &[]), "ip#1 container#1 ip#0 container#0");
}

#[test]
fn a_word_that_selects_nothing_is_an_error() {
    let host = Host::fake("n1", Path::new("/nowhere"));
    let service = build::build(&host, "x", Arc::new(EnvFile::parse(Path::new("x.env"), ENV).unwrap())).unwrap();
    for (rids, tags, why) in [
        (vec!["nosuch#1"], vec![], "no resource nosuch#1"),
        (vec!["container"], vec![], "no resource container"),
        (vec![], vec!["zz"], "there are: front"),
    ] {
        let options = Options {
            rids: rids.into_iter().map(str::to_owned).collect(),
            tags: tags.into_iter().map(str::to_owned).collect(),
            ..Options::default()
        };
        let error = Selection::of(&service, &options).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
