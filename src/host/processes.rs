//! The processes of this machine: found by their words, and known to have ended.

/// The name of the program that `argv` runs.
pub fn program(argv: &[String]) -> &str {
    argv.first().map_or("", |p| p.rsplit('/').next().unwrap_or(p))
}

/// The state of process `pid`, a letter (proc(5), stat). `None`: it is gone.
fn state(pid: i32) -> Option<char> {
    // the state follows the name in brackets
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// Nothing is open for process `pid` any more: it is gone, or only its exit status is left. Its words go before its files.
pub fn has_ended(pid: i32) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}

/// A signal or a debugger has stopped process `pid`.
pub fn is_stopped(pid: i32) -> bool {
    matches!(state(pid), Some('T' | 't'))
}

/// The processes whose words `want` takes (proc(5), cmdline).
pub fn processes(want: impl Fn(&[String]) -> bool) -> impl Iterator<Item = (i32, Vec<String>)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(move |e| {
        let pid = e.file_name().to_str()?.parse().ok()?;
        let bytes = std::fs::read(e.path().join("cmdline")).ok()?;
        let words = String::from_utf8_lossy(&bytes);
        let argv: Vec<String> = words.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
        want(&argv).then_some((pid, argv))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_by_its_words_and_lives() {
        let own = std::process::id().cast_signed();
        let words: Vec<String> = std::env::args().collect();
        assert!(processes(|argv| argv == words.as_slice()).any(|(pid, _)| pid == own));
        assert!(!has_ended(own) && !is_stopped(own));
        assert!(has_ended(i32::MAX)); // beyond the highest number there can be
        assert_eq!(program(&["/usr/bin/dockerd".to_owned(), "-H".to_owned()]), "dockerd");
    }
}
