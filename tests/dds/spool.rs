//! Merges by a spool folder: killed at every step, cut, damaged, without room. The destination is old or new whenever dds says so, and new
//! in the end.

use super::bed::{dds, ended, start};
use super::framed::{Small, json};
use std::fs;
use std::io::Write;
use std::process::Stdio;

impl Small {
    fn spool(&self) -> String {
        let path = self.bed.path("spool");
        fs::create_dir_all(&path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn left(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.spool()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn held(&self) -> (String, String) {
        let (dest, spool) = (self.dest(), self.spool());
        dds(&["--merge", "--spool", &spool, "--dest", &dest, "--hold"], &self.stream).good();
        assert_eq!((self.left(), self.bed.read("dest")), (vec!["delta".to_owned()], self.before.clone()));
        (dest, spool)
    }
}

/// Runs it until its `step`-th step, if it has so many.
#[allow(clippy::disallowed_methods)] // the program itself
fn until(step: u32, args: &[&str], input: &[u8]) -> bool {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dds"));
    command.args(args).env("DDS_DIE_AT", step.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    _ = child.stdin.take().unwrap().write_all(input);
    let ran = ended(child);
    assert!(ran.code == 0 || ran.code == -1, "{}", ran.err);
    ran.code == -1
}

#[test]
fn killed_at_every_step_it_is_old_or_new_and_can_be_finished() {
    let small = Small::new(&["--image", "N"]);
    let (spool, recover) = (small.spool(), ["--recover", &small.spool(), "--json"].map(str::to_owned));
    let recover: Vec<&str> = recover.iter().map(String::as_str).collect();
    let mut steps = 0;
    for step in 1.. {
        let dest = small.dest();
        if !until(step, &["--merge", "--spool", &spool, "--dest", &dest], &small.stream) {
            break;
        }
        steps = step;
        let left = small.left();
        let said = json(&dds(&recover, b"").good());
        let (found, complete) = (small.bed.read("dest"), left.contains(&"delta".to_owned()));
        let state = if complete {
            "applied"
        } else if left == ["incoming"] {
            "discarded"
        } else {
            "nothing"
        };
        assert_eq!(said["state"], state, "step {step}: {left:?}");
        assert!(
            if complete || !left.contains(&"incoming".to_owned()) { found == small.after } else { found == small.before },
            "step {step}"
        );
        assert!(small.left().is_empty());
        assert_eq!(json(&dds(&recover, b"").good())["state"], "nothing");
    }
    assert!(steps >= 12, "only {steps} steps: were they counted?");
    assert_eq!(small.bed.read("dest"), small.after);
}

#[test]
fn killed_again_and_again_while_it_is_finished() {
    let small = Small::new(&[]);
    for step in 1.. {
        let (_, spool) = small.held();
        if !until(step, &["--recover", &spool], b"") {
            break;
        }
        for again in 1..=step {
            until(again, &["--recover", &spool], b"");
        }
        dds(&["--recover", &spool], b"").good();
        assert_eq!((small.bed.read("dest"), small.left().len()), (small.after.clone(), 0), "step {step}");
    }
}

#[test]
fn any_mixture_of_old_and_new_becomes_new() {
    let small = Small::new(&[]);
    let (_, spool) = small.held();
    let delta = small.bed.read("spool/delta");
    for mixture in 0..16_u32 {
        let mut dest = small.before.clone();
        for (bit, chunk) in [1, 2, 4, 9].into_iter().enumerate().filter(|(bit, _)| mixture >> bit & 1 == 1) {
            let range = chunk * 512..5000.min(chunk * 512 + 512);
            dest[range.clone()].copy_from_slice(if bit % 2 == 0 { &small.after[range] } else { &[0xAA; 512][..range.len()] });
        }
        small.bed.file("dest", &dest);
        small.bed.file("spool/delta", &delta);
        small.bed.file("spool/applying", b"");
        dds(&["--recover", &spool], b"").good();
        assert_eq!(small.bed.read("dest"), small.after, "{mixture}");
    }
}

#[test]
fn cut_or_flipped_on_the_way_changes_nothing() {
    for options in [&[][..], &["--compress"]] {
        let small = Small::new(options);
        let (dest, spool) = (small.dest(), small.spool());
        let args = ["--merge", "--spool", &spool, "--dest", &dest];
        for length in (0..small.stream.len()).step_by(29) {
            let ran = dds(&args, &small.stream[..length]);
            assert_eq!((ran.code, small.left().len()), (1, 0), "{length}: {}", ran.err);
        }
        assert_eq!(small.bed.read("dest"), small.before);
        for bit in (0..small.stream.len() * 8).step_by(29) {
            // all of them are flipped in src/dds/frame/tests.rs
            let mut stream = small.stream.clone();
            stream[bit / 8] ^= 1 << (bit % 8);
            let ran = dds(&args, &stream);
            let found = small.bed.read("dest");
            assert!(!ran.err.contains("panicked") && small.left().is_empty(), "bit {bit}: {}", ran.err);
            if ran.code == 0 {
                assert_eq!(found, small.after, "bit {bit}"); // a bit of a zstd frame that means nothing
                small.dest();
            } else {
                assert_eq!((ran.code, found), (1, small.before.clone()), "bit {bit}: {}", ran.err);
            }
        }
    }
}

#[test]
fn a_delta_that_was_damaged_where_it_lay() {
    let small = Small::new(&[]);
    let (dest, spool) = small.held();
    let delta = small.bed.read("spool/delta");
    for cut in [0, 5, 30, 60, 100, delta.len() / 2, delta.len() - 1] {
        small.bed.file("spool/delta", &delta[..cut]);
        dds(&["--recover", &spool], b"").refused(&format!("as it was: drop this with dds --recover {spool} --discard"));
    }
    for byte in (0..delta.len()).step_by(5) {
        let mut broken = delta.clone();
        broken[byte] ^= 1;
        small.bed.file("spool/delta", &broken);
        assert_eq!(dds(&["--recover", &spool], b"").code, 1, "{byte}");
    }
    assert_eq!((small.bed.read("dest"), small.left()), (small.before.clone(), vec!["delta".to_owned()]));
    small.bed.file("spool/applying", b"");
    dds(&["--recover", &spool], b"").refused("neither old nor new");
    dds(&["--merge", "--spool", &spool, "--dest", &dest], &small.stream).refused(&format!("Finish that first: dds --recover {spool}"));
    let said = json(&dds(&["--recover", &spool, "--discard", "--json"], b"").good());
    assert_eq!((said["state"].as_str(), said["torn"].as_bool(), small.left().len()), (Some("discarded"), Some(true), 0));
}

#[test]
fn what_is_held_is_kept_dropped_or_replaced() {
    let small = Small::new(&["--image", "N"]);
    let (dest, spool) = small.held();
    assert_eq!(json(&dds(&["--recover", &spool, "--discard", "--json"], b"").good())["state"], "discarded");
    assert_eq!((small.bed.read("dest"), small.left().len()), (small.before.clone(), 0));

    small.held();
    let ran = dds(&["--merge", "--spool", &spool, "--dest", &dest, "--expect-base", "Z"], &small.stream);
    ran.refused("changes the image");
    assert_eq!(small.left(), ["delta"], "a refused stream does not drop it");
    dds(&["--merge", "--spool", &spool, "--dest", &dest, "--hold"], &small.stream[..200]).refused("is as it was");
    assert_eq!(small.left(), [""; 0]);

    small.held();
    small.bed.file("spool/applying", b"");
    dds(&["--merge", "--spool", &spool, "--dest", &dest, "--hold"], &small.stream).refused("--recover");
    dds(&["--recover", &spool, "--discard"], b"").refused("not dropped");
    let said = json(&dds(&["--recover", &spool, "--dest", &dest, "--json"], b"").good());
    assert_eq!((said["state"].as_str(), said["image"].as_str(), said["chunks"].as_u64()), (Some("applied"), Some("N"), Some(4)));
    assert_eq!(said["dest"], dest.as_str());
    assert_eq!(small.bed.read("dest"), small.after);
}

#[test]
fn a_delta_belongs_to_one_destination() {
    let small = Small::new(&[]);
    let (dest, spool) = small.held();
    let other = small.bed.file("other", &small.before);
    dds(&["--recover", &spool, "--dest", &other], b"").refused(&format!("belongs to {dest}"));
    small.bed.file("dest", &[&small.before[..], b"longer"].concat());
    dds(&["--recover", &spool], b"").refused("it had 5000 bytes when the delta came, and has 5006 now");
    fs::remove_file(&dest).unwrap();
    dds(&["--recover", &spool], b"").refused("does not exist");
    std::os::unix::fs::symlink(&other, &dest).unwrap();
    dds(&["--recover", &spool, "--dest", &other], b"").good(); // the same by another name
    assert_eq!((small.bed.read("other"), small.left().len()), (small.after.clone(), 0));
}

#[test]
fn one_at_a_time_works_in_a_folder() {
    let small = Small::new(&[]);
    let (dest, spool) = (small.dest(), small.spool());
    let mut first = start(&["--merge", "--spool", &spool, "--dest", &dest], Stdio::piped());
    let mut stdin = first.stdin.take().unwrap();
    stdin.write_all(&small.stream[..300]).unwrap();
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while small.left() != ["incoming"] {
        assert!(std::time::Instant::now() < limit);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    dds(&["--merge", "--spool", &spool, "--dest", &dest], &small.stream).refused("another dds is at work in it");
    dds(&["--recover", &spool], b"").refused("another dds is at work in it");
    stdin.write_all(&small.stream[300..]).unwrap();
    drop(stdin);
    ended(first).good();
    assert_eq!((small.bed.read("dest"), small.left().len()), (small.after.clone(), 0));
}

/// A file system of so many KiB, if the tests may mount one.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(path: &str, kib: u32) -> Option<Self> {
        use nix::mount::{MsFlags, mount};
        let options = format!("size={kib}k");
        match mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())) {
            Ok(()) => Some(Self(path.into())),
            Err(e) => {
                println!("SKIPPED: no file system can be mounted here: {e}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_file_system_changes_nothing() {
    let bed = super::bed::Bed::in_memory();
    let (before, after) = (vec![0; 1 << 20], super::bed::volume(1 << 20, 2));
    let (dest, source, spool) = (bed.file("dest", &before), bed.file("source", &after), bed.path("spool"));
    let spool = spool.to_str().unwrap();
    fs::create_dir(spool).unwrap();
    let Some(mounted) = Mounted::new(spool, 800) else { return };
    let stream = |more: &[&str]| dds(&[&["--extract", "--frame", "--all", "--source", &source][..], more].concat(), b"").good();
    let args = ["--merge", "--spool", spool, "--dest", &dest];
    dds(&args, &stream(&[])).refused("no room: 1 MiB are free, a tenth (1 MiB) stays free, and up to 2 MiB more are needed");
    dds(&args, &stream(&["--compress"])).refused("No space left on device. The destination is as it was");
    assert!(fs::read_dir(spool).unwrap().next().is_none());
    drop(mounted);
    let mounted = Mounted::new(spool, 1200).unwrap();
    dds(&args, &stream(&[])).good();
    assert!(bed.read("dest") == after);
    bed.file("dest", &before);
    nix::mount::mount(None::<&str>, spool, None::<&str>, nix::mount::MsFlags::MS_REMOUNT | nix::mount::MsFlags::MS_RDONLY, None::<&str>)
        .unwrap();
    dds(&args, &stream(&[])).refused("Read-only file system");
    assert!(bed.read("dest") == before);
    drop(mounted);
}

#[test]
fn no_folder() {
    let small = Small::new(&[]);
    let dest = small.dest();
    let none = small.bed.path("none");
    dds(&["--merge", "--spool", none.to_str().unwrap(), "--dest", &dest], &small.stream).refused("No such file");
    dds(&["--recover", none.to_str().unwrap()], b"").refused("The folder is the one that --spool named");
    dds(&["--merge", "--spool", &dest, "--dest", &dest], &small.stream).refused("");
    assert_eq!(small.bed.read("dest"), small.before);
}
