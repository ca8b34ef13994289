//! When this machine was started.

use chrono::{DateTime, Duration, Local, TimeZone};

/// Start of the first process: of the machine, or of the container it is. proc(5): `btime` is the boot in seconds
/// of the epoch, field 22 of `/proc/1/stat` the start of the process in ticks since then.
pub fn booted_at() -> Option<DateTime<Local>> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: i64 = stat.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    let init = std::fs::read_to_string("/proc/1/stat").ok()?;
    // the name, in brackets, may hold blanks
    let ticks: i64 = init.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(Local.timestamp_opt(boot, 0).single()? + Duration::milliseconds(ticks * 1000 / per_second))
}

#[cfg(test)]
mod tests {
    #[test]
    #[allow(clippy::disallowed_methods)]
    fn some_time_ago() {
        let up = chrono::Local::now() - super::booted_at().unwrap();
        assert!(up.num_seconds() >= 0 && up.num_days() < 10_000, "{up}");
    }
}
