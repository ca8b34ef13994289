//! The private daemons of docker services: several on one node, which do not give the same address away; and one that is
//! frozen.

use crate::bed::Nodes;
use crate::clean::nothing_left;
use crate::engine::{CLOCK, image, load};
use crate::snapshot;
use regex::Regex;
use std::time::{Duration, Instant};

/// A service whose container is on the engine's own bridge.
fn service(more: &str, name: &str) -> String {
    format!(
        "[DEFAULT]\nservice_type = TST\nnodes = n1\ndocker_data_dir = /disk/{name}\n{more}[container#0]\ntype = docker\nrun_image = test/clock:1\nrun_args = --stop-timeout=1\n"
    )
}

fn with(services: &[(&str, &str)]) -> Nodes {
    let bed = Nodes::with_svcmgr(&["n1"]);
    image(&bed, "n1", "test/clock:1", CLOCK, "clock.tar");
    for (name, more) in services {
        bed.service(&["n1"], name, &service(more, name));
        load(&bed, "n1", name, "clock.tar");
    }
    bed
}

fn address(bed: &Nodes, service: &str) -> String {
    bed.sh("n1", &format!("{service} docker inspect -f '{{{{.NetworkSettings.IPAddress}}}}' {service}.container.0"))
}

#[test]
fn daemons_of_one_node_do_not_give_the_same_address_away() {
    let services = [("svc1", ""), ("svc2", ""), ("svc3", "docker_daemon_args = --fixed-cidr=172.17.250.0/24\n")];
    let bed = with(&services);
    for (name, _) in services {
        bed.sh("n1", &format!("{name} start"));
    }
    let all = services.map(|(name, _)| address(&bed, name));
    assert!(all[0] != all[1] && all.iter().all(|a| a.starts_with("172.17.")), "{all:?}");
    assert!(all[2].starts_with("172.17.250."), "what the file says comes first: {all:?}");
    // each is reached from the node and from the others
    for to in &all {
        bed.sh("n1", &format!("ping -qc1 -W2 {to}"));
        for (from, _) in services {
            bed.sh("n1", &format!("{from} docker exec {from}.container.0 ping -qc1 -W2 {to}"));
        }
    }
    // one is stopped, and started again: nothing of the others changes
    bed.sh("n1", "svc1 stop; svc1 start");
    assert_eq!(services.map(|(name, _)| address(&bed, name)), all);
    bed.sh("n1", &format!("ping -qc1 -W2 {}; ping -qc1 -W2 {}", all[0], all[1]));
    bed.sh("n1", "svc1 stop; svc2 stop; svc3 stop");
    nothing_left(&bed, "n1", &[]);
}

#[test]
fn a_daemon_that_is_frozen_is_said_to_be() {
    let bed = with(&[("svc1", "")]);
    bed.sh("n1", "svc1 start; kill -STOP $(cat /opt/opensvc/var/svc1/docker.pid)");
    let plain = |text: &str| {
        let text = Regex::new(r"(?m)^\d\d:\d\d:\d\d ").unwrap().replace_all(text, "").into_owned();
        let text = Regex::new(r"[0-9a-f]{12}([0-9a-f]{52})?").unwrap().replace_all(&text, "ID").into_owned();
        Regex::new(r"kill -(9|CONT) \d+").unwrap().replace_all(&text, "kill -$1 PID").into_owned()
    };
    let mut story = String::new();
    for (words, code) in [("svc1 print status", 0), ("svc1 start", 1), ("svc1 stop", 1)] {
        let begun = Instant::now();
        let said = bed.run("n1", words);
        story += &plain(&format!("n1# {words}\n{}{}exit status {}\n\n", said.stdout, said.stderr, said.code));
        assert!(said.code == code && begun.elapsed() < Duration::from_secs(40), "{:?} {story}", begun.elapsed());
        eprintln!("{words}: {:?}", begun.elapsed());
    }
    snapshot("docker_frozen", &story);
    // the way out that it names
    let said = bed.run("n1", "svc1 stop");
    let command = Regex::new(r"kill -CONT \d+").unwrap().find(&said.stderr).unwrap().as_str();
    bed.sh("n1", &format!("{command}; svc1 print status | grep -q 'overall  *up'; kill -STOP $(cat /opt/opensvc/var/svc1/docker.pid)"));
    // or it is ended: what it left running is stopped
    let said = bed.run("n1", "kill -9 $(cat /opt/opensvc/var/svc1/docker.pid); svc1 stop");
    eprintln!("{}{:?}", said.stderr, crate::clean::listing(&bed, "n1"));
    assert_eq!(said.code, 0, "{}", said.stderr);
    nothing_left(&bed, "n1", &[]);
}
