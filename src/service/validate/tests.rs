//! Tests of validate.

use super::*;
use std::path::Path;

const GOOD: &str = "\
[DEFAULT]
service_type = TST
nodes = n1 n2
drpnodes = n3
autostart_node = n1

[ip#1]
ipname = 10.0.0.1
ipdev = eth0
";

/// Findings as `line:column-end severity message [help]`, as node n1 sees them.
fn findings(text: impl Into<Vec<u8>>) -> Vec<String> {
    let env = EnvFile::parse(Path::new("etc/svc1.env"), text).unwrap();
    let viewer = Viewer { node: "n1", host_mode: "TST" };
    validate(&Arc::new(env), "svc1", viewer).iter().map(show).collect()
}

fn show(d: &Diagnostic) -> String {
    let place = d.span.map_or("-".into(), |s| format!("{}:{}-{}", s.line, s.column, s.end));
    let severity = if d.severity == Severity::Error { "error" } else { "warning" };
    let help = d.help.as_ref().map(|h| format!(" [{h}]")).unwrap_or_default();
    format!("{place} {severity}: {}{help}", d.message)
}

/// The findings of the good file with `more` behind it; its lines begin at 10.
fn with(more: &str) -> Vec<String> {
    findings(format!("{GOOD}{more}"))
}

#[test]
fn a_good_file_has_no_findings() {
    assert_eq!(findings(GOOD), [""; 0]);
}

#[test]
fn what_makes_a_service_unusable() {
    let types = "PRD, PPRD, REC, INT, DEV, TST, TMP, DRP, FOR, PRA";
    for (old, new, wanted) in [
        ("nodes = n1 n2", "nodes = n1x n2", "3:9-15 error: service svc1 not managed here: n1 is neither in nodes nor in drpnodes"),
        (
            "service_type = TST",
            "service_type = tst",
            &format!("2:16-19 error: DEFAULT.service_type: \"tst\" is not one of {types} [did you mean `TST`?]"),
        ),
        (
            "service_type = TST",
            "",
            &format!("1:1-10 error: service_type is not set [one of {types}; without it the service is taken as TST]"),
        ),
        (
            "service_type = TST",
            "service_type =",
            &format!("2:1-13 error: service_type is not set [one of {types}; without it the service is taken as TST]"),
        ),
        ("service_type = TST", "service_type = TST\npkg_name = x", "3:1-9 error: pkg_name needs a mode other than hosted (sg, rhcs, vcs)"),
        ("service_type = TST", "service_type = TST\nflex_min_nodes = 2", "3:18-19 error: invalid flex_min_nodes '2' (>1 nb of nodes)."),
        ("service_type = TST", "service_type = TST\nflex_max_nodes = 0", "3:18-19 error: invalid flex_max_nodes '0' (<flex_min_nodes)."),
        (
            "service_type = TST",
            "service_type = TST\nflex_cpu_low_threshold = 101",
            "3:26-29 error: invalid flex_cpu_low_threshold '101' (>100).",
        ),
    ] {
        let found = findings(GOOD.replacen(old, new, 1));
        assert!(found.iter().any(|f| f == wanted), "{new}: {found:#?}");
    }
}

#[test]
fn a_production_node_takes_production_services_only() {
    let env = Arc::new(EnvFile::parse(Path::new("x"), GOOD).unwrap());
    let found = validate(&env, "svc1", Viewer { node: "n1", host_mode: "PRD" });
    assert_eq!(
        found.iter().map(show).collect::<Vec<_>>(),
        ["2:16-19 error: service svc1 type TST is not allowed to run on this node (host mode PRD)"]
    );
}

#[test]
fn keys() {
    let fs = "[fs#1]\ntype = ext4\ndev = /dev/a\nmnt = /a\n";
    for (line, wanted) in [
        ("mnt_opts = rw", "14:1-9 warning: unknown keyword `mnt_opts` in section fs#1: it has no effect [did you mean `mnt_opt`?]"),
        ("nodes = n1", "14:1-6 warning: unknown keyword `nodes` in section fs#1: it has no effect [it belongs in [DEFAULT]]"),
        ("mnt@drpnode = /b", "14:5-12 warning: unknown scope `drpnode`: no node of the service looks it up [did you mean `drpnodes`?]"),
        ("optional@n1 = true", "14:1-12 warning: `optional` is not looked up with scopes: this has no effect"),
        ("optional = ja", "14:12-14 error: fs#1.optional: not a boolean: \"ja\" (1, yes, true, on, 0, no, false or off)"),
        ("restart = 1.5", "14:11-14 error: fs#1.restart: not an integer: \"1.5\""),
        ("restart = -1", "14:11-13 error: fs#1.restart: must not be negative: -1"),
        (
            "always_on = n1 drpnode",
            "14:16-23 warning: `drpnode` is neither `nodes`, `drpnodes` nor a node of the service, as written: it has no effect [did you mean `drpnodes`?]",
        ),
        (
            "always_on = drpnodes drpnode",
            "14:22-29 warning: `drpnode` is neither `nodes`, `drpnodes` nor a node of the service, as written: it has no effect [did you mean `drpnodes`?]",
        ),
        ("mnt = /b", "13:1-4 warning: `mnt` is written again on line 14: the last one counts"),
        (
            "mnt_opt = rw # really",
            "14:14-22 warning: this is no comment: it belongs to the value [a comment stands on a line of its own, or behind a value, a blank and `;`]",
        ),
        ("mnt_opt = \"rw\"", "14:11-15 warning: the quotes belong to the value"),
        (
            " mnt_opt = rw",
            "13:7-9 warning: the value goes on on line 14: the line break belongs to it [a line that begins with a blank continues the value above]",
        ),
    ] {
        assert_eq!(with(&format!("{fs}{line}\n")), [wanted], "{line}");
    }
    for fine in [
        "mnt_opt@n1 = rw",
        "mnt_opt@NODES = rw",
        "pre_start = /bin/true",
        "mnt_opt = rw ; really",
        "always_on = nodes n3",
        "tags@flex_primary = a",
    ] {
        assert_eq!(with(&format!("{fs}{fine}\n")), [""; 0], "{fine}");
    }
}

#[test]
fn how_long_boot_waits_and_how_often_the_data_exist() {
    let with = |line: &str| findings(GOOD.replace("service_type = TST", &format!("service_type = TST\n{line}")));
    for fine in ["copies = node", "copies = site", "boot_wait = 0", "boot_wait = 90s", "boot_alone = 1h", "boot_alone = never"] {
        assert_eq!(with(fine), [""; 0], "{fine}");
    }
    let known = "(90s, 2m, 1h, 3d, or a number of seconds)";
    for (line, wanted) in [
        ("copies = sites", "3:10-15 error: DEFAULT.copies: \"sites\" is not one of node, site [did you mean `site`?]".to_owned()),
        ("copies@n1 = node", "3:1-10 warning: `copies` is not looked up with scopes: this has no effect".to_owned()),
        ("boot_wait = always", format!("3:13-19 error: DEFAULT.boot_wait: not a duration: \"always\" {known}")),
        (
            "boot_alone = allways",
            format!(
                "3:14-21 error: DEFAULT.boot_alone: not a duration: \"allways\" {known}, nor one of always, never [did you mean `always`?]"
            ),
        ),
    ] {
        assert_eq!(with(line), [wanted], "{line}");
    }
}

#[test]
fn sections_and_types() {
    for (text, wanted) in [
        ("[fs #1]\nmnt = /a\n", &["10:1-8 warning: nobody reads section [fs #1]: it is ignored [did you mean `fs#1`?]"][..]),
        ("[conatiner#2]\n", &["10:1-14 warning: nobody reads section [conatiner#2]: it is ignored [did you mean `container#2`?]"]),
        ("[fs#1] type = x\ndev = a\nmnt = /a\n", &["10:8-16 warning: what stands behind a section's name is not read"]),
        ("[fs#1]\nmnt = /a\n", &["10:1-7 error: dev must be set in section fs#1"]),
        ("[fs#1]\ndev = a\nmnt@nodes = /a\n", &["10:1-7 warning: mnt must be set in section fs#1 (on n3)"]),
        ("[IP#1]\nipname = a\nipdev = b\n", &["10:1-7 error: resource IP#1 is [ip#1] of line 7 in another case"]),
        ("[container#1]\nrun_image = a\n", &["10:1-14 error: type must be set in section container#1"]),
        (
            "[container#1]\ntype = dokcer\n",
            &["11:8-14 error: unknown container type dokcer in section container#1 [did you mean `docker`?]"],
        ),
        ("[container#1]\ntype = lxc\n", &["11:8-11 error: container type lxc is not supported by this version"]),
        ("[drbd#1]\nres = a\n", &["10:1-9 error: drbd is not supported by this version"]),
        ("[sync#1]\ntype = netapp\n", &["11:8-14 error: sync type netapp is not supported by this version"]),
        (
            "[sync#1]\nsrc = /a\ndst = /a\ntarget = nodes\nsync_days = [\"mondai\"]\n",
            &["14:13-23 warning: `mondai` is no day of the week: it has no effect [did you mean `monday`?]"],
        ),
        (
            "[sync#1]\nsrc = /a\ndst = /a\ntarget = node\n",
            &["13:10-14 warning: `node` is neither `nodes` nor `drpnodes`: it has no effect [did you mean `nodes`?]"],
        ),
        ("[sync]\nsync_period = [\"25:00\", \"26:00\"]\n", &["11:15-33 error: malformed period: [u'25:00', u'26:00']"]),
        ("[subset#fs:a]\nparallel = true\n", &["10:1-14 warning: no resource is in subset fs:a"]),
        ("[hb#1]\ntype = OpenHA\n", &[]),
        ("[vg#1]\nvgname = a\n", &[]),
        ("[sync#i0]\noptions = -a\n", &[]),
    ] {
        assert_eq!(with(text), wanted, "{text}");
    }
}

#[test]
fn default_leaks_into_sections() {
    let found = findings(GOOD.replacen("[ip#1]", "type = x\nipdev@n1 = eth1\nrestart = 2\ndev = /a\n[ip#1]", 1));
    assert_eq!(
        found,
        [
            "7:1-5 warning: `type` in [DEFAULT] is inherited by ip#1",
            "8:1-9 warning: `ipdev@n1` in [DEFAULT] is inherited by ip#1; it beats the plain `ipdev` of ip#1",
        ]
    );
}

#[test]
fn bytes_that_are_not_utf_8() {
    let mut text = GOOD.as_bytes().to_vec();
    text.extend(b"# d\xe9j\xe0 vu\n");
    assert_eq!(findings(text), ["10:4-5 warning: not UTF-8: the line is read as Latin-1 [save the file as UTF-8]"]);
}

#[test]
fn whoever_may_run_it_sees_its_own_errors() {
    let text = format!("{GOOD}[fs#1]\ndev = a\nmnt@nodes = /a\n");
    let env = Arc::new(EnvFile::parse(Path::new("x"), text).unwrap());
    let found = validate(&env, "svc1", Viewer { node: "n3", host_mode: "TST" });
    assert_eq!(found.iter().map(show).collect::<Vec<_>>(), ["10:1-7 error: mnt must be set in section fs#1"]);
}

#[test]
fn what_a_sync_replaces_is_not_mounted_by_number() {
    let of = |dev: &str, options: &str, src: &str| {
        let fs = format!("\n[fs#1]\ntype = btrfs\ndev = {dev}\nmnt = /srv/a\nmnt_opt = {options}\n");
        with(&format!("{fs}\n[sync#1]\ntype = btrfs\nsrc = {src}\ntarget = drpnodes\n"))
    };
    let why = "each run of sync#1 puts a subvolume of another number in its place: neither a standby nor a takeover could mount it then [say it by name: subvol=PATH]";
    assert_eq!(of("LABEL=s", "rw,subvolid=256", "o:a s:b"), [format!("15:11-26 error: subvolid=256 in section fs#1: {why}")]);
    assert_eq!(
        of("/dev/sdb", "subvolid=256", "s:a"),
        [format!("15:11-23 warning: subvolid=256 in section fs#1: if /dev/sdb is a filesystem of it: {why}")]
    );
    for (dev, options, src) in
        [("LABEL=s", "subvol=a", "s:a"), ("LABEL=s", "subvolid=5", "s:a"), ("LABEL=s", "subvolid=256", "t:a"), ("/dev/sdb", "rw", "s:a")]
    {
        assert_eq!(of(dev, options, src), [""; 0], "{dev} {options} {src}");
    }
}
