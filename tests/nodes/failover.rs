//! Failover inside a site: two nodes, one disk that both see.

use crate::bed::Nodes;
use crate::clean::nothing_left;
use crate::snapshot;

const ENV: &str = "[DEFAULT]
service_type = TST
nodes = n1 n2
autostart_node = n1

[ip#1]
ipdev = eth0
ipname = 10.99.0.100

[fs#1]
type = ext4
dev = /shared/svc1.img
mnt = /srv/svc1
mnt_opt = rw,loop
";

fn shared_disk() -> Nodes {
    let bed = Nodes::with_svcmgr(&["n1", "n2", "n3"]);
    bed.sh("n1", "truncate -s 32M /shared/svc1.img; mkfs.ext4 -q /shared/svc1.img");
    bed.service(&["n1", "n2"], "svc1", ENV);
    bed
}

#[test]
fn a_service_moves_with_its_disk_and_its_address() {
    let bed = shared_disk();
    bed.sh("n1", "svc1 start; echo from n1 >/srv/svc1/f");
    bed.sh("n3", "ping -qc1 -W2 10.99.0.100");
    snapshot("failover_1_up_on_n1", &bed.sh("n1", "svc1 print status"));

    // still up over there, and n1 says so: nothing is touched here
    let said = bed.run("n2", "svc1 start");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("svc1 is not started on n2: it is up on n1"), "{}", said.stderr);
    nothing_left(&bed, "n2", &[]);
    // and if it cannot say so: the address answers
    bed.sh("n1", "mv /opt/opensvc/bin/svcmgr /opt/opensvc/bin/away");
    let said = bed.run("n2", "svc1 start");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("start aborted due to resource ip#1 conflict"), "{}", said.stderr);
    nothing_left(&bed, "n2", &[]);
    bed.sh("n1", "mv /opt/opensvc/bin/away /opt/opensvc/bin/svcmgr");

    bed.sh("n1", "svc1 stop");
    nothing_left(&bed, "n1", &[]);
    assert_eq!(bed.sh("n2", "svc1 start; cat /srv/svc1/f"), "from n1");
    snapshot("failover_2_up_on_n2", &bed.sh("n2", "svc1 print status"));
    // n3 still has the address of n1's card in mind: the announcement has to reach it
    bed.sh("n3", "ping -qc1 -W2 10.99.0.100");
    bed.sh("n2", "svc1 stop");
    nothing_left(&bed, "n2", &[]);
}

#[test]
fn a_service_is_started_after_the_crash_of_its_node() {
    let bed = shared_disk();
    bed.sh("n1", "svc1 start; echo kept >/srv/svc1/f; sync -f /srv/svc1/f");
    bed.ctl("crash", &["n1"]);
    let said = bed.run("n2", "svc1 start");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("e2fsck -p"), "{}", said.stderr);
    assert_eq!(bed.sh("n2", "cat /srv/svc1/f"), "kept");
    // the crashed node comes back: nothing of the service is up there, and boot does not start it beside n2
    bed.ctl("boot", &["n1"]);
    snapshot("failover_3_n1_back", &bed.sh("n1", "svc1 print status"));
    bed.run("n1", "svc1 boot");
    assert_eq!(bed.sh("n1", "ip -o addr | grep -c 10.99.0.100 || true"), "0");
    assert_eq!(bed.sh("n2", "cat /srv/svc1/f"), "kept");
}

#[test]
fn switch_stops_here_and_starts_there_or_stops_nothing() {
    let bed = shared_disk();
    bed.sh("n1", "svc1 start; echo kept >/srv/svc1/f");
    bed.sh("n1", "svc1 switch --to n2");
    nothing_left(&bed, "n1", &[]);
    assert_eq!(bed.sh("n2", "cat /srv/svc1/f"), "kept");
    // back again, to a node that does not answer: the service stays where it is
    bed.ctl("cut", &["n1"]);
    let said = bed.run("n2", "svc1 switch --to n1");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("n1 cannot be reached") && said.stderr.contains("nothing was stopped"), "{}", said.stderr);
    assert_eq!(bed.sh("n2", "cat /srv/svc1/f"), "kept");
    let said = bed.run("n2", "svc1 switch --to n9");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("destination node n9 is not in service node list"), "{}", said.stderr);
}

#[test]
fn boot_starts_it_where_it_is_to_start_and_frozen_services_stay_as_they_are() {
    let bed = shared_disk();
    bed.sh("n1", "svc1 freeze");
    let said = bed.run("n1", "allservices boot");
    assert_eq!(said.code, 1, "{}", said.stderr);
    nothing_left(&bed, "n1", &[]);
    bed.sh("n1", "svc1 thaw; allservices boot");
    bed.sh("n2", "allservices boot"); // not its turn: startstandby, of nothing
    nothing_left(&bed, "n2", &[]);
    let log = bed.sh("n1", "cat /opt/opensvc/log/svc1.log");
    assert!(log.contains(" - SVC1.FS#1 - INFO - mount -t ext4 -o rw,loop /shared/svc1.img /srv/svc1"), "{log}");
    bed.sh("n1", "allservices shutdown");
    nothing_left(&bed, "n1", &[]);
}
