//! The cipher of a connection to a peer: AES-GCM takes half the processor time of ssh's own first choice, where the
//! processor has instructions for AES.

use crate::cmd::system::SystemRunner;
use crate::cmd::{Cmd, Runner};
use std::time::Duration;

const FAST: &str = "aes128-gcm@openssh.com";
/// What ssh offers first if nobody has told it anything else: the same speed on every processor.
const USUAL: &str = "chacha20-poly1305@openssh.com";
/// How long ssh may take to read its configuration, which may run programs.
const LOOK: Duration = Duration::from_secs(5);

/// The ciphers that `ssh` offers to `host` in any case, in a better order for much data. `None`: it stays as it is; always
/// if somebody has chosen another order.
pub fn order(ssh: &[String], host: &str) -> Option<String> {
    let program = ssh.first()?.rsplit('/').next()?;
    if program != "ssh" || !has_aes() {
        return None;
    }
    let words = ssh.iter().cloned().chain(["-G".to_owned(), host.to_owned()]);
    let out = SystemRunner.run(&Cmd::probe(words).timeout(LOOK));
    out.ok().then(|| better(&out.text())).flatten()
}

/// proc_cpuinfo(5): `flags` of x86, `Features` of ARM.
fn has_aes() -> bool {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut features = text.lines().filter(|l| l.starts_with("flags") || l.starts_with("Features"));
    features.next().is_some_and(|l| l.split_whitespace().any(|w| w == "aes"))
}

/// Of what `ssh -G` says: `ciphers ONE,TWO`.
fn better(text: &str) -> Option<String> {
    let ciphers: Vec<&str> = text.lines().find_map(|l| l.strip_prefix("ciphers "))?.trim().split(',').collect();
    if ciphers.first() != Some(&USUAL) || !ciphers.contains(&FAST) {
        return None;
    }
    Some([FAST].into_iter().chain(ciphers.into_iter().filter(|c| *c != FAST)).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_order_of_ssh_itself_is_changed() {
        let of = |ciphers: &str| better(&format!("user root\nciphers {ciphers}\nmacs x\n"));
        let usual = "chacha20-poly1305@openssh.com,aes128-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com";
        let fast = "aes128-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr,aes256-gcm@openssh.com";
        assert_eq!(of(usual).as_deref(), Some(fast));
        assert_eq!(of(fast), None, "it is so already");
        assert_eq!(of("aes256-gcm@openssh.com,aes128-gcm@openssh.com"), None, "somebody wants that");
        assert_eq!(of("chacha20-poly1305@openssh.com,aes256-ctr"), None, "somebody does not want it");
        assert_eq!(better("user root\n"), None);
    }

    #[test]
    fn another_program_is_not_asked() {
        let dir = tempfile::tempdir().unwrap();
        let called = dir.path().join("called");
        let words = |program: &str| vec![program.to_owned(), called.display().to_string()];
        assert_eq!(order(&words("/usr/bin/touch"), "n2"), None);
        assert!(!called.exists());
    }
}
