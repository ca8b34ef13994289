//! What a sync finds in the place of its copy and has not put there: another service's copy, data of somebody. It stays.

use crate::bed::{Nodes, Said};
use crate::btrfs::{nodes, service, sh};

fn env(kind: &str, src: &str, dst: &str) -> String {
    format!(
        "[DEFAULT]\nservice_type = TST\nnodes = n1\ndrpnodes = n3\nautostart_node = n1\n\n[sync#1]\ntype = {kind}\nsrc = {src}\ndst = {dst}\ntarget = drpnodes\n"
    )
}

/// The errors of a command, without the time.
fn refused(bed: &Nodes, command: &str) -> String {
    let Said { code, stderr, .. } = bed.run("n1", command);
    let errors = stderr.lines().filter(|l| l.contains(" ERROR ")).map(|l| l.split_whitespace().skip(2).collect::<Vec<_>>().join(" "));
    format!("exit {code}\n{}\n", errors.collect::<Vec<_>>().join("\n"))
}

#[test]
fn zfs_does_not_replace_what_is_not_its_own() {
    let bed = crate::zfs::zfs_nodes(&["n1", "n3"], "256M");
    bed.sh("n1", "for d in one two; do zfs create z/$d; echo of $d >/z/$d/f; done");
    bed.sh("n3", "zfs create z/live; echo mine >/z/live/f; zfs create z/empty");
    for (name, src, dst) in
        [("one", "z/one", "z/copy"), ("two", "z/two", "z/copy"), ("three", "z/two", "z/live"), ("four", "z/two", "z/empty")]
    {
        bed.service(&["n1", "n3"], name, &env("zfs", src, dst));
    }
    bed.sh("n1", "one sync full 2>&1");
    let all = [refused(&bed, "two sync full"), refused(&bed, "three sync full")];
    bed.sh("n1", "echo again >/z/one/f; one sync update --force; one sync verify; four sync full");
    assert_eq!(bed.sh("n3", "cat /z/live/f; zfs list -H -o name -r z"), "mine\nz\nz/copy\nz/empty\nz/live");
    // as it says
    bed.sh("n3", ". /disk/tools; patient zfs unmount z/live; patient zfs rename z/live z/live.old; zfs mount z/live.old");
    bed.sh("n1", "three sync full; three sync verify");
    assert_eq!(bed.sh("n3", "cat /z/live.old/f"), "mine");
    // a section has another number now: it goes on with what the first one left; everything anew only if told so
    bed.service(&["n1", "n3"], "one", &env("zfs", "z/one", "z/copy").replace("sync#1", "sync#3"));
    let renumbered = refused(&bed, "one sync full");
    bed.sh("n3", "zfs release svcmgr:one.sync.1 z/copy@sent; zfs inherit svcmgr:copy-of z/copy");
    bed.sh("n1", "one sync full; one sync verify");
    crate::snapshot("strangers_zfs", &format!("{}{renumbered}", all.concat()));
}

#[test]
fn btrfs_does_not_replace_what_is_not_its_own() {
    let bed = nodes(&["n1", "n3"], &service("").replace("always_on = drpnodes\n", ""), "256M");
    sh(
        &bed,
        "n1",
        "top 'for d in two three four; do btrfs subvolume create $d; echo of $d >$d/f; done'; svc1 start 2>&1; echo of one >/srv/svc1/data/f",
    );
    sh(&bed, "n3", "top 'btrfs subvolume create live; echo mine >live/f; btrfs subvolume create empty'");
    for (name, src, dst) in [
        ("two", "svc1:two", "svc1:data"),
        ("three", "svc1:three", "svc1:live"),
        ("four", "svc1:four", "svc1:empty"),
        ("five", "svc1:data", "svc1:five"),
    ] {
        bed.service(&["n1", "n3"], name, &env("btrfs", src, dst));
    }
    bed.sh("n1", "svc1 sync full 2>&1");
    let all = ["two", "three", "five"].map(|name| refused(&bed, &format!("{name} sync full")));
    bed.sh("n1", "echo again >/srv/svc1/data/f; svc1 sync update --force; svc1 sync verify; four sync full");
    assert_eq!(sh(&bed, "n3", "top cat live/f data/f empty/f"), "mine\nagain\nof four");
    sh(&bed, "n3", "top mv live live.old");
    bed.sh("n1", "three sync full; three sync verify");
    assert_eq!(sh(&bed, "n3", "top cat live.old/f live/f"), "mine\nof three");
    crate::snapshot("strangers_btrfs", &all.concat());
}
