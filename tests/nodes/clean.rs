//! What a finished or killed svcmgr must not leave on a node.

use crate::bed::Nodes;
use std::time::Duration;

/// Nothing is left on the node: no process but ssh's listener, no lock held, no loop device, no mount below
/// /srv, but those named in `expected` (lines as printed by the listing below). Waits a little: the ends of
/// killed processes and of loop devices are asynchronous.
pub fn nothing_left(bed: &Nodes, node: &str, expected: &[&str]) {
    bed.until(node, Duration::from_secs(20), &format!("test \"$({LISTING})\" = '{}'", expected.join("\n")));
}

/// One line for each thing: `process NAME`, `lock FILE`, `mount PLACE`, `loop FILE`, sorted.
pub fn listing(bed: &Nodes, node: &str) -> Vec<String> {
    bed.sh(node, LISTING).lines().map(str::to_owned).collect()
}

// bash and sleep are pid 1 of a node and its clock; the listing's own programs end with it
const LISTING: &str = "{ ps -e -o comm=,args= | grep -Ev '^(ps|grep|sort|sed|flock|sshd +sshd: /usr/sbin/sshd|bash +(/bin/)?bash -(c|euo)|sleep +sleep infinity|losetup|findmnt|tr|cat|ls|nsenter|nodes.sh|timeout)' | sed -E 's/^([^ ]+).*/process \\1/' || :;
    for f in /opt/opensvc/var/lock/*; do [ ! -f \"$f\" ] || flock -n \"$f\" true || echo lock \"$f\"; done;
    findmnt -rn -o TARGET | grep ^/srv | sed 's/^/mount /' || :;
    losetup -ln -O BACK-FILE | grep -E '^/(disk|shared)/' | sed -E 's/ .*//; s/^/loop /' || :; } | sort";
