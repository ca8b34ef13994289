//! Real processes: pipes, limits, daemons that hold pipes, signals.

use super::*;
use std::path::Path;
use std::sync::Arc;

fn sh(script: &str) -> Cmd {
    Cmd::probe(["sh", "-c", script])
}

fn run(cmd: &Cmd) -> Output {
    SystemRunner.run(cmd)
}

fn ends(out: &Output) -> Vec<End> {
    out.stages.iter().map(|s| s.end.clone()).collect()
}

/// Waits for `what` for at most 5 s.
fn until(what: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        if what() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn output_stderr_and_status_of_one() {
    let out = run(&sh("echo out; echo err >&2; exit 3"));
    assert_eq!((out.text().as_str(), out.code(), out.ok()), ("out\n", Some(3), false));
    assert_eq!(out.stages[0].why(), "sh: exit status 3: err");
    assert_eq!(ends(&run(&sh("kill -9 $$"))), [End::Signaled(9)]);
}

#[test]
fn a_pipe_moves_more_than_it_holds_and_every_stage_is_checked() {
    let input: Vec<u8> = (0..3_000_000u32).map(|i| i.to_le_bytes()[0]).collect();
    let out = run(&Cmd::probe(["cat"]).input(input.clone()).pipe(Cmd::probe(["cat"])).pipe(Cmd::probe(["cat"])));
    assert!(out.ok());
    assert!(out.stdout == input, "bytes changed on the way");

    let out = run(&sh("echo a; exit 7").pipe(Cmd::probe(["cat"])));
    assert_eq!(ends(&out), [End::Exited(7), End::Exited(0)]);
    assert_eq!(out.failure().unwrap().end, End::Exited(7));
}

#[test]
fn a_dead_reader_ends_the_writer() {
    let out = run(&Cmd::probe(["yes"]).pipe(sh("exit 1")).timeout(Duration::from_secs(20)));
    assert_eq!(ends(&out), [End::Signaled(13), End::Exited(1)]);
    // nor does it matter to us that our input is not wanted
    assert!(run(&sh("exit 0").input(vec![0; 1_000_000])).ok());
}

#[test]
fn only_the_end_of_stderr_is_kept() {
    let out = run(&sh("yes 0123456789 | head -n 100000 >&2; echo last >&2"));
    assert_eq!(out.stages[0].stderr.len(), 64 << 10);
    assert!(out.stages[0].stderr.ends_with("\nlast\n"));
}

#[test]
fn the_limit_ends_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let child = dir.path().join("pid");
    let script =
        format!("trap '' TERM; sh -c 'trap \"exit 0\" TERM; echo $$ > {}; while :; do sleep 0.05; done' & exec sleep 60", child.display());
    let begun = Instant::now();
    let out = run(&sh(&script).timeout(Duration::from_millis(500)));
    assert_eq!(ends(&out), [End::TimedOut(Duration::from_millis(500))]);
    // the leader ignores SIGTERM (inherited over exec), so it took SIGKILL
    assert!(begun.elapsed() >= GRACE && begun.elapsed() < GRACE + Duration::from_secs(5));
    let pid = std::fs::read_to_string(child).unwrap();
    assert!(until(|| !alive(&pid)));
}

#[test]
fn a_daemon_that_holds_the_pipe_does_not_hold_us() {
    let begun = Instant::now();
    let out = run(&sh("sleep 60 & echo $!; echo complaint >&2"));
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(out.ok());
    let pid = out.text();
    assert!(alive(&pid), "the daemon stays");
    assert_eq!(out.stages[0].stderr, "complaint\n");
    _ = kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL);
}

#[test]
fn what_cannot_run_is_told_and_nothing_else_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let touch = Cmd::change(["touch".to_owned(), mark.display().to_string()]);
    let out = run(&touch.clone().pipe(Cmd::probe(["no-such-program"])));
    assert_eq!(ends(&out), [End::NotRun("no-such-program does not exist or not in path or is not executable".into())]);
    let out = run(&touch.clone().user(Some("nobody-knows".into())));
    assert_eq!(ends(&out), [End::NotRun("user nobody-knows does not exist".into())]);
    let mut cmd = touch;
    cmd.cwd = Some("/no/such".into());
    assert!(matches!(&ends(&run(&cmd))[0], End::NotRun(why) if why.contains("/no/such: no such folder")));
    assert!(!mark.exists());
}

#[test]
fn the_environment_speaks_c_and_finds_system_programs() {
    let mut cmd = sh("echo $LANG $LC_ALL $EXTRA; pwd; echo $PATH").env("EXTRA", "x");
    cmd.cwd = Some("/usr".into());
    let text = run(&cmd).text();
    assert!(text.starts_with("C C x\n/usr\n"), "{text}");
    assert!(text.contains("/usr/local/sbin") && text.contains("/usr/sbin"));
}

#[test]
fn runs_as_another_user() {
    if !nix::unistd::geteuid().is_root() {
        return; // only root may become somebody else
    }
    let out = run(&sh("id -un; id -gn; echo $HOME").user(Some("nobody".into())));
    assert!(out.text().starts_with("nobody\nnogroup\n"), "{out:?}");
}

#[test]
fn sinks() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    assert!(run(&sh("echo a; echo b >&2").sink(Sink::File(file.clone()))).ok());
    assert!(run(&sh("echo c").sink(Sink::File(file.clone()))).ok());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a\nb\nc\n");
    assert!(matches!(ends(&run(&sh(":").sink(Sink::File("/no/such/log".into()))))[0], End::NotRun(_)));
}

#[test]
fn output_is_told_as_it_comes() {
    let (send, receive) = std::sync::mpsc::channel();
    let send = Mutex::new(send);
    let tell: super::super::OnOutput = Arc::new(move |bytes: &[u8]| _ = send.lock().unwrap().send(bytes.to_vec()));
    // the process goes on only when the first piece has been told
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let script = format!("echo first; while [ ! -e {0} ]; do sleep 0.02; done; echo second", go.display());
    let thread = std::thread::spawn(move || run(&sh(&script).on_output(tell).timeout(Duration::from_secs(10))));
    assert_eq!(receive.recv_timeout(Duration::from_secs(5)).unwrap(), b"first\n");
    std::fs::write(go, "").unwrap();
    assert!(thread.join().unwrap().ok());
    assert_eq!(receive.try_iter().collect::<Vec<_>>().concat(), b"second\n");
}

#[test]
fn a_background_process_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let begun = Instant::now();
    let out = run(&sh(&format!("echo $$ > {}.new; mv {0}.new {0}; exec sleep 60", file.display())).background());
    assert!(out.ok() && begun.elapsed() < Duration::from_secs(2));
    assert!(until(|| file.exists()));
    let pid = std::fs::read_to_string(file).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap();
    let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().to_owned();
    assert_eq!(session, pid.trim(), "a session of its own");
    _ = kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL);
    assert!(until(|| !Path::new(&format!("/proc/{}", pid.trim())).exists()), "no zombie");
    assert!(matches!(ends(&run(&Cmd::change(["no-such-program"]).background()))[0], End::NotRun(_)));
}

#[test]
fn another_thread_can_stop_it() {
    let control = Arc::new(Control::default());
    let held = control.clone();
    let thread = std::thread::spawn(move || SystemRunner.run_held(&Cmd::probe(["sleep", "60"]).unbounded(), &held));
    assert!(until(|| control.group.lock().unwrap().is_some()));
    let begun = Instant::now();
    control.stop();
    assert_eq!(ends(&thread.join().unwrap()), [End::Signaled(15)]);
    assert!(begun.elapsed() < Duration::from_secs(2));
}

/// The child is told when the thread that runs it ends, as it is when svcmgr is killed.
#[test]
fn direct_children_die_with_us() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let cmd = sh(&format!("echo $$ > {}; exec sleep 60", file.display()));
    let ready = spawn::prepare(&cmd).unwrap();
    let mut child = std::thread::scope(|s| {
        let start = || spawn::spawn(ready, Streams { stdin: Stdio::null(), stdout: Stdio::null(), stderr: Stdio::null() }, Group::Own);
        s.spawn(start).join().unwrap().unwrap()
    });
    let begun = Instant::now();
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// In a process of its own, as the flag is for the whole process.
#[test]
fn an_interrupt_ends_what_runs_now_and_not_what_comes() {
    if std::env::var_os("SVCMGR_TEST_INTERRUPT").is_none() {
        let me = std::env::current_exe().unwrap().display().to_string();
        let name = "cmd::system::tests::an_interrupt_ends_what_runs_now_and_not_what_comes";
        // whatever this test was started with
        for (signal, with) in [("15", "--default-signal=HUP"), ("1", "--default-signal=HUP"), ("1", "--ignore-signal=HUP")] {
            let words = ["env", with, me.as_str(), "--exact", name];
            let out = run(&Cmd::probe(words).env("SVCMGR_TEST_INTERRUPT", signal).env("WITH", with));
            assert!(out.ok(), "{signal} {with}: {}", out.text());
        }
        return;
    }
    assert!(!interrupted());
    // a signal is an interrupt, unless we were started to ignore it
    on_signals();
    let signal = std::env::var("SVCMGR_TEST_INTERRUPT").unwrap();
    kill(Pid::this(), Signal::try_from(signal.parse::<i32>().unwrap()).unwrap()).unwrap();
    if std::env::var("WITH").unwrap() == "--ignore-signal=HUP" {
        kill(Pid::this(), Signal::SIGTERM).unwrap(); // what came before it has been dealt with when this is seen
        assert!(until(interrupted));
        assert_eq!(INTERRUPTS.load(Ordering::SeqCst), 1);
        return;
    }
    assert!(until(interrupted));
    let control = Arc::new(Control::default());
    let held = control.clone();
    let thread = std::thread::spawn(move || SystemRunner.run_held(&Cmd::probe(["sleep", "60"]).pipe(Cmd::probe(["cat"])), &held));
    assert!(until(|| control.group.lock().unwrap().is_some()));
    interrupt_all();
    assert_eq!(ends(&thread.join().unwrap()), [End::Signaled(15), End::Signaled(15)]);
    assert!(run(&sh("exit 0")).ok());
}

#[test]
fn what_crosses_a_pipe_is_counted_and_slowed_down() {
    use super::super::Meter;
    use std::sync::atomic::AtomicU64;
    let (passed, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let seen = passed.clone();
    let meter = Meter { limit: Some(1_000_000), told: Arc::new(move |n| seen.store(n, Ordering::SeqCst)) };
    let out = SystemRunner.run(&Cmd::probe(["head", "-c", "500000", "/dev/zero"]).meter(meter.clone()).pipe(Cmd::probe(["wc", "-c"])));
    assert!(out.ok() && out.text().trim() == "500000", "{out:?}");
    assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(passed.load(Ordering::SeqCst), 500_000);
    // the next stage wants no more: the one before hears of it
    let out = SystemRunner.run(&Cmd::probe(["yes"]).meter(Meter { limit: None, ..meter }).pipe(Cmd::probe(["head", "-c", "10"])));
    assert!(!out.stages[0].ok() && out.stages[1].ok(), "{out:?}");
}
