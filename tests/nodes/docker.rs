//! Containers, their daemon and their addresses, with real docker engines: what works, and what has gone wrong.

use crate::bed::{Nodes, finish};
use crate::clean::nothing_left;
use crate::engine::{CLOCK, image, load};
use crate::snapshot;
use regex::Regex;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

const HEAD: &str = "[DEFAULT]\nservice_type = TST\nnodes = n1\ndocker_data_dir = /srv/svc1/docker\n\
    [fs#1]\ntype = ext4\ndev = /disk/svc1.img\nmnt = /srv/svc1\nmnt_opt = loop\n";
const CLOCK_0: &str = "[container#0]\ntype = docker\nrun_image = test/clock:1\nrun_args = --net=none\n";
const SLEEPER_1: &str = "[container#1]\ntype = docker\nrun_image = test/clock:1\nrun_args = --net=container:svc1.container.0\n    --stop-timeout=1\nrun_command = sleep 1000\n";

/// n1 with the image in the data folder of svc1, which is down; and the other nodes.
fn engines(nodes: &[&str], sections: &str) -> Nodes {
    let bed = Nodes::with_svcmgr(nodes);
    bed.sh("n1", "truncate -s 256M /disk/svc1.img; mkfs.ext4 -q /disk/svc1.img");
    image(&bed, "n1", "test/clock:1", CLOCK, "clock.tar");
    bed.service(&["n1"], "svc1", &format!("{HEAD}{sections}"));
    bed.sh("n1", "svc1 startfs");
    load(&bed, "n1", "svc1", "clock.tar");
    bed
}

fn plain(text: &str) -> String {
    let ids = Regex::new(r"[0-9a-f]{12}([0-9a-f]{52})?").unwrap().replace_all(text, "ID").into_owned();
    let text = Regex::new(r"netns \d+|/proc/\d+").unwrap().replace_all(&ids, "PID").into_owned();
    Regex::new(r"pl\d+").unwrap().replace_all(&text, "plPID").into_owned()
}

/// The commands of an action, without time and level.
fn deeds(stderr: &str) -> String {
    let lines = stderr.lines().filter(|l| l.contains(" INFO ") && !l.ends_with("output:"));
    let mut lines: Vec<String> = lines.map(|l| format!("{}\n", l[9..].trim_start_matches("INFO ").trim_start())).collect();
    lines.dedup(); // the kernel takes its time to let go of a container's mounts: an umount may be repeated
    plain(&lines.concat())
}

#[test]
fn a_container_and_its_address_start_and_stop_in_order() {
    let ip = "[ip#0]\ntype = docker\nipdev = eth0\nipname = 10.99.0.100\nnetmask = 255.255.255.0\ngateway = 10.99.0.1\ncontainer_rid = container#0\n";
    let bed = engines(&["n1", "n2"], &format!("{ip}{CLOCK_0}{SLEEPER_1}"));
    let said = bed.run("n1", "svc1 start");
    assert_eq!(said.code, 0, "{}", said.stderr);
    snapshot("docker_1_start", &deeds(&said.stderr));
    snapshot("docker_2_up", &plain(&bed.sh("n1", "svc1 print status")));
    bed.sh("n2", "ping -qc1 -W2 10.99.0.100");
    // what is asked of the client comes through with its exit status, on our streams
    assert_eq!(bed.run("n1", "echo word | svc1 docker exec -i svc1.container.0 sh -c 'cat; exit 7'").code, 7);
    assert_eq!(bed.sh("n1", "svc1 docker inspect -f '{{.Name}}' %instances%"), "/svc1.container.0\n/svc1.container.1");
    let said = bed.run("n1", "svc1 start");
    assert_eq!((said.code, said.stderr.matches("already started on n1").count()), (0, 2), "{}", said.stderr);

    // with its container it goes down, and comes up
    bed.sh("n1", "svc1 stop --rid container#1,container#0");
    assert_ne!(bed.run("n2", "ping -qc1 -W1 10.99.0.100").code, 0);
    bed.sh("n1", "svc1 start --rid container#0");
    bed.sh("n2", "ping -qc1 -W2 10.99.0.100");
    // alone as well
    bed.sh("n1", "svc1 stop --rid ip#0");
    assert_ne!(bed.run("n2", "ping -qc1 -W1 10.99.0.100").code, 0);
    bed.sh("n1", "svc1 start --rid ip#0");
    bed.sh("n2", "ping -qc1 -W2 10.99.0.100");

    let said = bed.run("n1", "svc1 stop");
    assert_eq!(said.code, 0, "{}", said.stderr);
    snapshot("docker_3_stop", &deeds(&said.stderr));
    snapshot("docker_4_down", &plain(&bed.sh("n1", "svc1 print status")));
    nothing_left(&bed, "n1", &[]);
    // somebody else has the address: nothing is begun
    bed.sh("n2", "ip addr add 10.99.0.100/24 dev eth0");
    let said = bed.run("n1", "svc1 start");
    assert!(said.code == 1 && said.stderr.contains("start aborted due to resource ip#0 conflict"), "{}", said.stderr);
    nothing_left(&bed, "n1", &[]);
}

#[test]
fn an_address_by_a_bridge_and_by_a_card_of_its_own() {
    let ip = |n: u32, dev: &str, more: &str| {
        format!("[ip#{n}]\ntype = docker\nipdev = {dev}\nipname = 10.99.{n}.100\nnetmask = 24\ncontainer_rid = container#0\n{more}")
    };
    let bed = engines(&["n1"], &format!("{CLOCK_0}{}{}", ip(7, "br7", ""), ip(8, "card", "tags = dedicated\n")));
    bed.sh(
        "n1",
        "ip link add br7 type bridge; ip addr add 10.99.7.1/24 dev br7; ip link set br7 up
         ip link add card type veth peer name wire; ip addr add 10.99.8.1/24 dev wire; ip link set wire up; ip link set card up",
    );
    let said = bed.run("n1", "svc1 start");
    assert!(said.code == 0 && said.stderr.contains("bridge mode") && said.stderr.contains("dedicated mode"), "{}", said.stderr);
    bed.sh("n1", "ping -qc1 -W2 10.99.7.100; ping -qc1 -W2 10.99.8.100; ! ip link show card 2>/dev/null");
    assert!(bed.sh("n1", "svc1 print status").contains("overall                   up"));
    bed.sh("n1", "svc1 stop");
    // the card is back, with no address; of the cable nothing is left
    assert_eq!(bed.sh("n1", "ip -o -4 addr show dev card; ip -o link | grep -c 'card@\\|veth1pl' || :"), "1");
    nothing_left(&bed, "n1", &[]);
    // a gateway that cannot be: nothing is left half plugged, and the container is stopped again
    let env = bed.sh("n1", "cat /opt/opensvc/etc/svc1.env").replace("[ip#7]", "[ip#7]\ngateway = 192.0.2.1");
    bed.service(&["n1"], "svc1", &env);
    let said = bed.run("n1", "svc1 start");
    assert!(said.code == 1 && said.stderr.contains("trying to rollback start on"), "{}", said.stderr);
    assert_eq!(bed.sh("n1", "ip -o link | grep -c veth1pl || :"), "0");
    nothing_left(&bed, "n1", &[]);
}

#[test]
fn a_daemon_that_died_is_mended_by_the_next_action() {
    let bed = engines(&["n1"], &format!("{CLOCK_0}{SLEEPER_1}"));
    bed.sh("n1", "svc1 start");
    let kill = "kill -9 $(cat /opt/opensvc/var/svc1/docker.pid); until ! pgrep -x dockerd >/dev/null; do sleep .05; done";
    bed.sh("n1", kill);
    snapshot("docker_5_daemon_dead", &plain(&bed.sh("n1", "svc1 print status")));
    let said = bed.run("n1", "svc1 start");
    assert!(said.code == 0 && said.stderr.contains("the docker daemon has died and left running"), "{}", said.stderr);
    assert!(bed.sh("n1", "svc1 print status").contains("overall                   up"));
    // killed again; somebody else has its number now
    bed.sh("n1", kill);
    let other = bed.spawn("n1", "echo $$ | tee /run/other >/opt/opensvc/var/svc1/docker.pid; exec sleep 300");
    bed.until("n1", MINUTE, "grep -q sleep /proc/$(cat /opt/opensvc/var/svc1/docker.pid)/cmdline");
    let said = bed.run("n1", "svc1 stop");
    assert_eq!(said.code, 0, "{}", said.stderr);
    nothing_left(&bed, "n1", &["process sleep"]);
    bed.sh("n1", "kill $(cat /run/other)");
    finish(other);
    // what it left behind is no hindrance
    bed.sh("n1", "sleep 300 & echo $! >/opt/opensvc/var/svc1/docker.pid; svc1 start; kill $!");
    assert!(bed.sh("n1", "svc1 print status").contains("overall                   up"));
    bed.sh("n1", "svc1 stop");
    nothing_left(&bed, "n1", &[]);
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing_behind() {
    let bed = engines(&["n1"], CLOCK_0);
    bed.sh("n1", "svc1 stop; svc1 stopfs");
    let set = |key: &str, value: &str| bed.sh("n1", &format!("svc1 set --param '{key}' --value='{value}'"));
    let fails = |words: &str, why: &str| {
        let said = bed.run("n1", words);
        assert!(said.code == 1 && said.stderr.contains(why), "{words}: exit status {}, wanted {why}:\n{}", said.code, said.stderr);
        nothing_left(&bed, "n1", &[]);
    };
    // the data folder is not mounted: an engine there would start empty
    fails("svc1 startcontainer", "/srv/svc1 is not mounted. can't start the docker daemon. first: svcmgr -s svc1 --rid fs#1 startfs");
    fails("svc1 docker ps", "/srv/svc1 is not mounted");
    assert_eq!(bed.sh("n1", "find /srv/svc1 | wc -l"), "1");
    // an image that is not there
    set("container#0.run_image", "nobody/has:this");
    fails("svc1 start", "image nobody/has:this is not on n1 and could not be had");
    set("container#0.run_image", "b073e328878e");
    fails("svc1 start", "image b073e328878e is not on n1 and could not be had: an id cannot be asked of a registry");
    // a command that is not there, and one that ends at once
    set("container#0.run_image", "test/clock:1");
    set("container#0.run_command", "/no/such/program");
    fails("svc1 start", "no such file or directory");
    set("container#0.run_command", "sh -c \"echo last words; exit 3\"");
    fails("svc1 start", "container svc1.container.0 has ended with exit status 3. it said last:\nlast words");
    // arguments the daemon does not know
    set("DEFAULT.docker_daemon_args", "--no-such-flag");
    fails("svc1 start", "the docker daemon has ended at once. it said last:");
    fails("svc1 start", "unknown flag: --no-such-flag");
    // frozen
    bed.sh("n1", "svc1 freeze");
    fails("svc1 docker ps", "svc1 is frozen on n1");
    bed.sh("n1", "svc1 thaw");
    // no engine at all
    bed.sh("n1", "rm -f $(type -ap docker dockerd)");
    fails("svc1 start", "dockerd does not exist or not in path or is not executable: install the docker engine");
    assert!(bed.sh("n1", "svc1 print status").contains("# docker daemon is not running"));
    bed.sh("n1", "svc1 stop");
}

#[test]
fn a_stop_ends_what_listens_and_what_does_not() {
    let bed = engines(&["n1"], &format!("{CLOCK_0}{SLEEPER_1}"));
    bed.sh("n1", "svc1 start");
    let attached = bed.spawn("n1", "svc1 docker attach --no-stdin svc1.container.0");
    bed.until("n1", MINUTE, "pgrep -f 'docker.* attach' >/dev/null");
    // the sleeper knows no SIGTERM: the engine kills it after its own second
    let said = bed.run("n1", "svc1 stop");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let attached = finish(attached);
    assert!(attached.stdout.contains(" UTC "), "{}{}", attached.stdout, attached.stderr);
    nothing_left(&bed, "n1", &[]);
    // a container that is not the service's keeps the engine, and the stop says so
    bed.sh("n1", "svc1 start; svc1 docker run -d --name=guest --net=none --stop-timeout=1 test/clock:1 sleep 1000");
    let said = bed.run("n1", "svc1 stop");
    assert!(said.code == 1 && said.stderr.contains("to stop them: svcmgr -s svc1 docker stop guest"), "{}", said.stderr);
    bed.sh("n1", "svc1 docker stop guest; svc1 stop");
    nothing_left(&bed, "n1", &[]);
}

#[test]
fn two_services_with_a_daemon_each_and_twenty_containers() {
    let twenty: String = (0..20)
        .map(|n| format!("[container#{n}]\ntype = docker\nrun_image = test/clock:1\nrun_args = --net=none\nsubset = many\n"))
        .collect();
    let bed = engines(&["n1"], &format!("{twenty}[subset#container:many]\nparallel = true\n"));
    let other =
        "[DEFAULT]\nservice_type = TST\nnodes = n1\ndocker_data_dir = /disk/svc2\n[container#0]\ntype = docker\nrun_image = test/clock:1\n";
    bed.service(&["n1"], "svc2", other);
    load(&bed, "n1", "svc2", "clock.tar");
    bed.sh("n1", "svc2 start; svc1 start");
    let tree = bed.sh("n1", "svc1 print status");
    assert_eq!(tree.matches("@test/clock:1").count(), 20, "{tree}");
    // how many programs a status starts, itself included
    let started =
        bed.sh("n1", "strace -f -qq -e trace=execve -o /tmp/trace svc1 print status >/dev/null; grep -c 'execve(.* = 0' /tmp/trace");
    assert!(started.parse::<u32>().unwrap() <= 4, "{started}");
    eprintln!("children of a status of 20 containers: {}", started.parse::<u32>().unwrap() - 1);
    bed.sh("n1", "svc1 stop");
    assert!(bed.sh("n1", "svc2 print status").contains("overall                   up"));
    bed.sh("n1", "svc2 docker exec svc2.container.0 ip -o -4 addr show dev eth0 | grep -q 'inet 172'");
    bed.sh("n1", "svc2 stop");
    nothing_left(&bed, "n1", &[]);
}
