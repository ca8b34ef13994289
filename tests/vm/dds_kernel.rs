//! dds and the kernel's snapshots: a stream of `dds --extract` is a store that the kernel takes, and dds sees what the kernel
//! writes below the page cache, also that a snapshot has overflowed.

use crate::bed::{self, Bed, dds};
use crate::guest::{Guest, Node, Said};
use crate::vectors;
use crate::{Scenario, scenario};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    scenario!(the_kernel_takes_the_streams),
    scenario!(what_the_page_cache_hides_is_seen),
    scenario!(a_snapshot_that_overflowed_is_refused).on_demand(),
    scenario!(a_snapshot_that_overflows_meanwhile_ends_the_extract).on_demand(),
];

/// The kernel may take so long to merge all of the streams.
const PATIENCE: Duration = Duration::from_secs(180);

/// Bytes of the disk that holds the images of all cases.
#[derive(Clone, Copy)]
struct Slice {
    from: u64,
    len: u64,
}

/// A stream, the volume that it belongs on, and what has to come of both.
struct Case {
    name: String,
    chunk: usize,
    exceptions: u64,
    before: Slice,
    stream: Slice,
    after: Vec<u8>,
}

/// A file in memory that holds all images, so that one loop device is enough.
struct Disk {
    file: File,
    len: u64,
    cases: Vec<Case>,
}

impl Disk {
    fn new(bed: &Bed) -> Self {
        let path = bed.file("disk", b"");
        let file = File::options().read(true).write(true).open(path).unwrap();
        let mut disk = Self { file, len: 0, cases: Vec::new() };
        vectors::each("ok", |name, vector, images| {
            let chunk = usize::try_from(vector["chunk_bytes"].as_u64().unwrap()).unwrap();
            disk.add(name, chunk, &images.before, images.after.clone(), [images.path("cow"), images.path("after")]);
        });
        // what the vectors have not: areas that are just full, of the smallest chunks too, and a store of the kernels of old
        let straight = |count| (0..count).collect::<Vec<u64>>();
        disk.made("made-512", 512, &straight(32), false);
        disk.made("made-512-two-areas", 512, &straight(64), false);
        disk.made("made-4k-two-areas", 4096, &straight(512), false);
        disk.made("made-4k-holes", 4096, &straight(300), true);
        disk
    }

    /// A store with records of the chunks `olds`; with holes and out of order, as kernels before 3.14 could leave it.
    fn made(&mut self, name: &str, chunk: usize, olds: &[u64], holes: bool) {
        let bed = Bed::in_memory();
        let (place, count) = (bed::usual(chunk), olds.len() as u64);
        let nth = |i: u64| if holes { place((i * 7 + 3) % count * 2) } else { place(i) };
        let records: Vec<(u64, u64)> = (0..).zip(olds).map(|(i, old)| (*old, nth(i))).collect();
        let size = (olds.len() + 5) * chunk;
        let (before, mut after) = (bed::volume(size, 1), bed::volume(size, 2));
        let kept = olds.len() * chunk;
        after[kept..].copy_from_slice(&before[kept..]);
        let paths = [bed.file("cow", &bed::store(chunk, &records, &before)), bed.file("after", &after)];
        self.add(name, chunk, &before, after, paths);
    }

    /// `paths`: of the store and of the volume as it is now.
    fn add(&mut self, name: &str, chunk: usize, before: &[u8], after: Vec<u8>, [cow, source]: [String; 2]) {
        let stream = dds(&["--extract", "--cow", &cow, "--source", &source], b"").good();
        let exceptions = (stream.len() / chunk) as u64 - 1;
        let exceptions = exceptions - exceptions.div_ceil(chunk as u64 / 16 + 1); // less the areas
        let (before, stream) = (self.put(before), self.put(&stream));
        self.cases.push(Case { name: name.to_owned(), chunk, exceptions, before, stream, after });
    }

    fn put(&mut self, bytes: &[u8]) -> Slice {
        let slice = Slice { from: self.len, len: bytes.len() as u64 };
        self.file.write_all_at(bytes, slice.from).unwrap();
        self.len = (self.len + slice.len).next_multiple_of(4096);
        self.file.set_len(self.len).unwrap();
        slice
    }

    fn get(&self, slice: Slice) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(slice.len).unwrap()];
        self.file.read_exact_at(&mut bytes, slice.from).unwrap();
        bytes
    }
}

/// The disk as a block device.
struct Loop(String);

impl Loop {
    fn over(bed: &Bed) -> Self {
        run("modprobe", &["loop"]);
        Self(run("losetup", &["-f", "--show", bed.path("disk").to_str().unwrap()]).trim().to_owned())
    }

    /// The table of a device that is a slice of it.
    fn linear(&self, slice: Slice) -> String {
        format!("0 {} linear {} {}", slice.len / 512, self.0, slice.from / 512)
    }
}

impl Case {
    fn device(&self, what: &str) -> String {
        format!("{}.{what}", self.name)
    }

    /// The table of the stream as a store over the volume; `target` is snapshot or snapshot-merge.
    fn over(&self, target: &str, stream: &str) -> String {
        let (volume, store) = (self.device("volume"), self.device(stream));
        format!("0 {} {target} /dev/mapper/{volume} /dev/mapper/{store} P {}", self.before.len / 512, self.chunk / 512)
    }
}

fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// One process for all devices, as a process is dear in the guest.
fn try_create(devices: &[(String, String)], mode: &str) -> Output {
    let list: Vec<String> = devices.iter().map(|(name, table)| format!("{name},,,{mode},{table}")).collect();
    Command::new("dmsetup").args(["create", "--concise", &list.join(";")]).output().unwrap()
}

fn create(devices: &[(String, String)], mode: &str) {
    let out = try_create(devices, mode);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

fn remove(devices: &[(String, String)]) {
    let names: Vec<&str> = devices.iter().map(|(name, _)| name.as_str()).collect();
    run("dmsetup", &[&["remove", "--retry"], &names[..]].concat());
}

/// Waits until the stores of all merges have no records any more.
fn merged(count: usize) {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = run("dmsetup", &["status", "--target", "snapshot-merge"]);
        // "NAME: 0 LENGTH snapshot-merge USED/ALL METADATA", in sectors
        let done = |line: &&str| line.split_once('/').is_some_and(|(used, rest)| used.rsplit(' ').next() == rest.split(' ').nth(1));
        if status.lines().filter(done).count() == count {
            return;
        }
        assert!(!status.contains("nvalid") && !status.contains("failed"), "{status}");
        assert!(Instant::now() < end, "not merged within {PATIENCE:?}: {status}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn the_kernel_takes_the_streams(_: &Guest) {
    let (bed, began) = (Bed::in_memory(), Instant::now());
    let disk = Disk::new(&bed);
    let full = |c: &&Case| c.exceptions > 0 && c.exceptions.is_multiple_of(c.chunk as u64 / 16);
    assert!(disk.cases.iter().filter(full).count() >= 4 && disk.cases.iter().any(|c| c.exceptions == 0));
    println!("{} streams after {:.1} s", disk.cases.len(), began.elapsed().as_secs_f32());
    let each = |device: &dyn Fn(&Case) -> (String, String)| -> Vec<(String, String)> { disk.cases.iter().map(device).collect() };

    let whole = Loop::over(&bed);
    let volumes = each(&|c| (c.device("volume"), whole.linear(c.before)));
    let streams = each(&|c| (c.device("stream"), whole.linear(c.stream)));
    create(&volumes, "rw");
    create(&streams, "rw");

    let snapshots = each(&|c| (c.device("snapshot"), c.over("snapshot", "stream")));
    create(&snapshots, "ro");
    for case in &disk.cases {
        let seen = std::fs::read(format!("/dev/mapper/{}", case.device("snapshot"))).unwrap();
        assert!(seen == case.after, "{}: as a snapshot", case.name);
    }
    remove(&snapshots);
    println!("snapshots read after {:.1} s", began.elapsed().as_secs_f32());

    // the area of zeroes at the end is needed where all records before it are used, and where there is none
    for case in disk.cases.iter().filter(|c| full(c) || c.exceptions == 0) {
        let short = Slice { len: case.stream.len - case.chunk as u64, ..case.stream };
        let short = [(case.device("short"), whole.linear(short))];
        create(&short, "rw");
        let out = try_create(&[(case.device("refused"), case.over("snapshot", "short"))], "ro");
        assert!(!out.status.success(), "{}: the kernel took it without its last area", case.name);
        remove(&short);
    }

    let merges = each(&|c| (c.device("merge"), c.over("snapshot-merge", "stream")));
    create(&merges, "rw");
    merged(merges.len());
    remove(&merges);
    remove(&streams);
    remove(&volumes);
    run("losetup", &["-d", &whole.0]);
    for case in &disk.cases {
        assert!(disk.get(case.before) == case.after, "{}: merged by the kernel", case.name);
    }
    println!("merged after {:.1} s", began.elapsed().as_secs_f32());
}

/// A volume of so many MiB with content, its snapshot snap1 (of `chunk`, `room` MiB), and the device of the snapshot's store.
/// Somebody has read the store through the page cache, which from now on shows it as it was.
fn snapshot(node: Node, vg: &str, mib: usize, chunk: &str, room: usize) -> (String, String) {
    node.vg(vg);
    let lv = node.lv(vg, "data", mib);
    node.sh(&format!("dd if=/dev/urandom of={lv} bs=1M count={mib} oflag=direct status=none"));
    let (room, origin) = (format!("{room}M"), format!("{vg}/data"));
    node.run(["lvcreate", "-q", "-s", "-c", chunk, "-L", &room, "-n", "snap1", &origin]);
    let cow = format!("/dev/mapper/{vg}-snap1-cow");
    node.sh(&format!("cat {cow} >/dev/null"));
    (lv, cow)
}

fn what_the_page_cache_hides_is_seen(guest: &Guest) {
    let (a, _) = guest.pair();
    let (lv, cow) = snapshot(a, "stale", 8, "4k", 4);
    let target = a.lv("stale", "target", 8);
    a.sh(&format!("dd if=/dev/stale/snap1 of={target} bs=1M oflag=direct status=none"));
    let source = "/dev/stale/snap2";
    // the second time as when a transfer has failed and is tried an hour later: of the same snapshot
    for (chunks, exceptions) in [("0 9 300 1000 2047", 5), ("1 9 301 1001 2000 2046", 10)] {
        let area = format!("dd if={cow} bs=4k skip=1 count=1 status=none | tr -d '\\0' | wc -c");
        let cached = a.sh(&area);
        a.sh(&format!("for c in {chunks}; do dd if=/dev/urandom of={lv} bs=4k count=1 seek=$c oflag=direct status=none; done"));
        a.run(["lvcreate", "-q", "-s", "-c", "4k", "-L", "4M", "-n", "snap2", "stale/data"]);
        assert_eq!(a.sh(&area), cached, "the page cache shows the store's new records: this scenario shows nothing");

        let number = |command: &str, key: &str| -> serde_json::Value {
            serde_json::from_str::<serde_json::Value>(&a.sh(&format!("dds {command} --cow {cow} --source {source} --json"))).unwrap()[key]
                .clone()
        };
        assert_eq!(number("--extract --dry-run", "exceptions"), exceptions);
        assert_eq!(number("--note /tmp/stale.set", "chunks"), exceptions);
        a.sh(&format!("dds --extract --cow {cow} --source {source} | dds --merge --dest {target}"));
        assert_eq!(a.hash(&target), a.hash(source));
        a.run(["lvremove", "-q", "-f", "stale/snap2"]);
    }
    a.run(["vgremove", "-q", "-f", "-y", "stale"]);
}

/// `dds` says that the snapshot is invalid, and what to do.
fn refused(said: &Said, cow: &str) {
    assert_eq!(
        (said.code, said.stdout.as_str(), said.stderr.as_str()),
        (
            1,
            "",
            format!(
                "dds: store {cow}: the snapshot is invalid: it was full, and no longer knows all changes. \
                 A delta cannot be made of it: remove the snapshot, make a new one, and copy the whole volume\n"
            )
            .as_str()
        )
    );
}

fn a_snapshot_that_overflowed_is_refused(guest: &Guest) {
    let (a, _) = guest.pair();
    let (lv, cow) = snapshot(a, "over", 8, "4k", 4);
    a.sh(&format!("dd if=/dev/urandom of={lv} bs=1M count=8 oflag=direct status=none"));
    assert_eq!(a.run(["lvs", "--noheadings", "-o", "lv_snapshot_invalid", "over/snap1"]).trim(), "snapshot invalid");
    for command in [
        format!("dds --extract --cow {cow} --source {lv}"),
        format!("dds --extract --cow {cow} --source {lv} --dest /tmp/over.stream"),
        format!("dds --extract --frame --cow {cow} --source {lv}"),
        format!("dds --note /tmp/over.set --cow {cow} --source {lv}"),
    ] {
        refused(&a.try_sh(&command), &cow);
    }
    a.sh("test ! -e /tmp/over.stream; test ! -e /tmp/over.set");
    a.run(["vgremove", "-q", "-f", "-y", "over"]);
}

fn a_snapshot_that_overflows_meanwhile_ends_the_extract(guest: &Guest) {
    let (a, _) = guest.pair();
    let (lv, cow) = snapshot(a, "meanwhile", 28, "64k", 20);
    let target = a.lv("meanwhile", "target", 28);
    let change = |from: usize, mib: usize| format!("dd if=/dev/urandom of={lv} bs=1M count={mib} seek={from} oflag=direct status=none");
    a.sh(&change(0, 18));
    a.run(["lvcreate", "-q", "-s", "-c", "64k", "-L", "12M", "-n", "snap2", "meanwhile/data"]);
    // once the first bytes have come, the snapshot overflows; the rest of the stream waits in buffers and the pipe
    let overflow = change(18, 10);
    let said = a.try_sh(&format!(
        "set +e; {{ dds --extract --cow {cow} --source /dev/meanwhile/snap2; echo $? >/tmp/meanwhile.code; }} \
         | {{ head -c 4096; {overflow}; cat; }} >/tmp/meanwhile; exit $(cat /tmp/meanwhile.code)"
    ));
    refused(&said, &cow);
    let said = a.try_sh(&format!("cat /tmp/meanwhile | dds --merge --dest {target}"));
    assert!(said.code == 1 && said.stderr.contains("cut short"), "{said:?}");
    a.run(["vgremove", "-q", "-f", "-y", "meanwhile"]);
}
