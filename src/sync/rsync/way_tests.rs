//! The way back: paths, what cannot go back, the checks of who sends.

use super::super::tests::Bench;
use super::*;
use crate::authority::written::Newest;
use crate::sync::{Class, SyncDriver};
use proptest::prelude::*;
use std::time::Duration;

const HOME: (&str, &str) = ("n1", "n3");
const BACK: (&str, &str) = ("n3", "n1");
const ASIDE: (&str, &str) = ("n3", "n4");

/// What the sync of `section` is when it goes from one node to another; n1 and n2 are at home, n3 and n4 are not.
fn redirected(bench: &Bench, (from, to): (&str, &str)) -> Result<Box<dyn SyncDriver>, String> {
    let side = |node: &str| if matches!(node, "n1" | "n2") { Side::Source } else { Side::Target };
    let (here, there) = (bench.config.impersonate(from), bench.config.impersonate(to));
    let way = Way { here: here.section("sync#1"), there: there.section("sync#1"), from: side(from), to: side(to) };
    (super::super::DRIVER.redirect)(&way)
}

/// `SOURCES => DST` of the sync that goes `way`.
fn goes(section: &str, way: (&str, &str)) -> String {
    let bench = Bench::new(way.0, &format!("drpnodes = n3 n4\n[sync#1]\ntarget = drpnodes\n{section}\n"));
    let (here, there) = (bench.config.impersonate(way.0), bench.config.impersonate(way.1));
    let side = |node: &str| if node == "n1" { Side::Source } else { Side::Target };
    let as_home = bench.config.impersonate("n1");
    let params = Way { here: here.section("sync#1"), there: there.section("sync#1"), from: side(way.0), to: side(way.1) };
    match route(&params, &as_home.section("sync#1")) {
        Ok(route) => format!("{} => {}", route.src.join(" "), route.dst),
        Err(why) => why,
    }
}

#[test]
fn a_missing_dst_is_the_same_place() {
    for (src, dst) in [("/srv/a", "/srv/"), ("/srv/a/", "/srv/a/"), ("/a", "/")] {
        assert_eq!(same_place(src), dst);
    }
}

#[test]
fn src_and_dst_are_exchanged() {
    for (section, back, aside) in [
        ("src = /srv/d/", "/srv/d/ => /srv/d", "/srv/d/ => /srv/d"),
        ("src = /srv/d", "/srv/d => /srv/", "/srv/d => /srv/"),
        ("src = /srv/d/\ndst = /x", "/x/ => /srv/d", "/x/ => /x"),
        ("src = /srv/d/.\ndst = /x/", "/x/ => /srv/d", "/x/ => /x"),
        ("src = /srv/d\ndst = /x", "/x/d => /srv/", "/x/d => /x/"),
        ("src = /srv/d\ndst = /x/", "/x/d => /srv/", "/x/d => /x/"),
        ("src = /d\ndst = /x y/", "/x y/d => /", "/x y/d => /x y/"),
        // a file that has another name there: what it is called is seen there
        ("src = /srv/conf\ndst = /etc/passwd", "/etc/passwd => /srv/conf", "/etc/passwd => /etc/passwd"),
        ("src = /srv/d/\ndst = /x\noptions = -R", "/x/./srv/d/ => /", "/x/./srv/d/ => /x"),
        ("src = /srv/./d\ndst = /\noptions = --relative", "/d => /srv", "/d => /"),
    ] {
        assert_eq!((goes(section, BACK).as_str(), goes(section, ASIDE).as_str()), (back, aside), "{section}");
    }
    assert_eq!(goes("src = /srv/d*\ndst = /x", HOME), "/srv/d* => /x", "as ever");
}

#[test]
fn scopes_are_those_of_who_reads_the_key() {
    let both = "src = /a/\ndst = /b\nsrc@n1 = /home/\ndst@nodes = /there";
    assert_eq!(goes(both, BACK), "/there/ => /home", "home's own spellings are what home means");
    let own = "src = /a* /c\ndst = /b\nsrc@drpnodes = /there/d /there/e*\ndst@drpnodes = /a/";
    assert_eq!(goes(own, BACK), "/there/d /there/e* => /a/", "as written");
    assert_eq!(goes("src = /a/\ndst = /b\nsrc@n3 = /own/\ndst@n3 = /back", BACK), "/own/ => /back");
    let half = goes("src = /a/\ndst = /b\ndst@n3 = /back", BACK);
    assert!(half.contains("it has a dst of its own there, but no src. set src@drpnodes (what n3 sends)"), "{half}");
}

#[test]
fn what_cannot_go_back_names_the_keys() {
    let keys = "set src@drpnodes (what n3 sends) and dst@drpnodes (where to on n1) in section [sync#1]";
    for (section, why) in [
        ("src = /a /b\ndst = /x/", "it has several sources"),
        ("src = /a/*\ndst = /x/", "its source is a pattern"),
        ("src = /a/..\ndst = /x/", "its source is not a plain absolute path"),
        ("src = /a\ndst = /x?/", "its dst looks like a pattern"),
    ] {
        assert_eq!(goes(section, BACK), format!("sync#1 cannot be sent back from n3 to n1: {why}. {keys}"));
    }
    // another target needs no names: all is at dst
    for (section, aside) in [
        ("src = /a /b\ndst = /x", "/x/a /x/b => /x/"),
        ("src = /a/d* /b\ndst = /x/", "/x/d* /x/b => /x/"),
        ("src = /a/*/ /b\ndst = /x", "/x/ => /x"),
        ("src = /a /b*\ndst = /x\noptions = -R", "/x/./a /x/./b* => /x"),
    ] {
        assert_eq!(goes(section, ASIDE), aside);
    }
}

#[test]
fn the_checks_of_who_sends_hold() {
    let section = |more: &str| {
        format!(
            "drpnodes = n3 n4\n[fs#1]\nmnt = /home\nmnt@drpnodes = DIR/m\ndev = x\n[sync#1]\nsrc = /home/d/\ndst = DIR/m/d\ntarget = drpnodes\n{more}"
        )
    };
    let refused = |way: (&str, &str), more: &str, mounts: &[(&str, &str)]| {
        let bench = Bench::new(way.0, &section(more)).mounts(mounts);
        std::fs::create_dir_all(bench.path("m/d")).unwrap();
        std::fs::create_dir_all(bench.path("nas/d")).unwrap();
        let sync = redirected(&bench, way).unwrap();
        sync.ready(&bench.cx("sync#1")).err().map(|e| e.to_string())
    };
    let (bare, up) = ([("/", "ext4")], [("/", "ext4"), ("DIR/m", "ext4")]);
    for way in [BACK, ASIDE] {
        let why = refused(way, "", &bare).unwrap();
        assert!(why.contains("m (fs#1) is not mounted here, and the files on the target would be deleted"), "{why}");
        assert_eq!(refused(way, "", &up), None);
        // what had to be mounted there to be written to has to be mounted there to be sent
        let nas = "dst = DIR/nas/d\ndstfs = DIR/nas/\n";
        assert!(refused(way, nas, &up).unwrap().contains("nas (dstfs) is not mounted here"));
        assert_eq!(refused(way, nas, &[("/", "ext4"), ("DIR/m", "ext4"), ("DIR/nas", "nfs4")]), None);
    }
    let bench = Bench::new("n3", &section("options = -z --exclude='a b'\nbwlimit = 5\nbwlimit@n3 = 7\n"));
    let sync = redirected(&bench, BACK).unwrap();
    assert_eq!(sync.targets(), [Class::Nodes]);
    let detail = sync.question(&bench.cx("sync#1"), "n1");
    assert_eq!((detail.dst.as_deref(), detail.dstfs), (Some("/home/d"), None));
    let refused = |src: &str, dst: &str, way: (&str, &str)| {
        let bench = Bench::new(way.0, &format!("drpnodes = n3 n4\n[sync#1]\nsrc = {src}\ndst = {dst}\ntarget = drpnodes\n"));
        redirected(&bench, way).map(|_| ()).unwrap_err()
    };
    assert!(refused("/etc/", "/backup/etc", BACK).contains("dst /etc is a folder of the system"));
    assert!(refused("/a/", "/b", ("n1", "n2")).contains("both nodes have the same copy"));
}

#[test]
fn the_age_of_the_data_on_either_side() {
    let bench = Bench::new(
        "n3",
        "drpnodes = n3 n4\n[sync#1]\nsrc = DIR/home/\ndst = DIR/there\ntarget = drpnodes\nsrc@n3 = DIR/own/\ndst@n3 = DIR/x\n",
    );
    let (plain, back, aside) = (bench.sync(), redirected(&bench, BACK).unwrap(), redirected(&bench, ASIDE).unwrap());
    let cx = bench.cx("sync#1");
    let age = |s: &dyn SyncDriver, side| matches!(s.newest(&cx, side, Duration::from_secs(60)), Newest::At(_));
    let ages = || [&plain, &back, &aside].map(|s| [Side::Source, Side::Target].map(|side| age(s.as_ref(), side)));
    assert_eq!(ages(), [[false, false]; 3]);
    std::fs::create_dir_all(bench.path("there/x")).unwrap();
    assert_eq!(ages(), [[false, false]; 3], "n3 says that its data are elsewhere");
    std::fs::create_dir_all(bench.path("own/x")).unwrap();
    assert_eq!(ages(), [[false, true]; 3]);
    std::fs::create_dir_all(bench.path("home/x")).unwrap();
    assert_eq!(ages(), [[true, true]; 3]);
}

fn path() -> impl Strategy<Value = String> {
    "(/[a-c ]{1,3}){1,4}"
}

proptest! {
    /// There and back again.
    #[test]
    fn twice_is_once(src in path(), content in "/?", dst in path(), slash in "/?", relative: bool, file: bool) {
        let (src, dst) = (format!("{src}{content}"), format!("{dst}{slash}"));
        let there = Shape::of(&src, &dst, relative, |_| file).unwrap();
        let (back_src, back_dst) = (there.src(Side::Target), there.dst(Side::Source));
        let back = Shape::of(&back_src, &back_dst, relative, |_| file && matches!(there, Shape::File(..))).unwrap();
        prop_assert_eq!(back.src(Side::Target), src);
        let again = back.dst(Side::Source);
        prop_assert_eq!(again.trim_end_matches('/'), dst.trim_end_matches('/'));
        prop_assert_eq!(again.ends_with('/'), matches!(there, Shape::Item(..)));
    }
}
