//! The service's own file, on the node that is to receive it: what was edited here and nowhere else is not
//! overwritten, and what has arrived is remembered.

use crate::authority::Refusal;
use crate::host::Host;
use crate::log::Logger;
use crate::state::gate::Question;
use crate::state::received;

/// How many lines of a difference are shown.
const SHOWN: usize = 10;

/// Why the service file of `question` is refused, if it is: ours was edited since it was received. One that is the
/// same on both sides counts as received; that is remembered, unless the asker only looks.
pub(super) fn refusal(host: &Host, log: &Logger, name: &str, question: &Question, look: bool) -> Option<String> {
    let theirs = question.rids.get("sync#i0")?.env.as_deref()?;
    let path = host.paths.env_file(name);
    let ours = std::fs::read(&path).ok()?;
    if ours == theirs.as_bytes() {
        if !look {
            remember(host, log, name, &ours);
        }
        return None;
    }
    let var = &host.paths.var;
    // never received: nobody can tell whether it was edited
    received::read(var, name).filter(|received| *received != ours)?;
    let (node, sender, path) = (&host.node, &question.node, path.display());
    let lines = difference(&String::from_utf8_lossy(&ours), theirs);
    let refusal = Refusal {
        what: format!("the files of {name} are not sent from {sender} to {node}: {path} was edited on {node}"),
        why: format!("{node} has lines that {sender} has not (-: on {node}, +: on {sender}):{}", lines.concat()),
        stake: format!("what was edited on {node}"),
        remedy: format!(
            "to keep it: on {sender}: scp {node}:{path} {path}; to drop it: on {node}: cp {} {path}",
            received::path(var, name).display()
        ),
    };
    Some(refusal.to_string())
}

/// The service file before a transfer, to see whether it has brought another one.
pub(super) fn before(host: &Host, name: &str) -> Vec<u8> {
    std::fs::read(host.paths.env_file(name)).unwrap_or_default()
}

/// A transfer of the service's own files has come to its end. Stamps come the same way, so only a file that has
/// changed was received.
pub(super) fn arrived(host: &Host, log: &Logger, name: &str, before: &[u8]) {
    match std::fs::read(host.paths.env_file(name)) {
        Ok(now) if now != before => remember(host, log, name, &now),
        _ => {}
    }
}

/// What cannot be remembered is not protected: the transfer itself is none the worse.
fn remember(host: &Host, log: &Logger, name: &str, text: &[u8]) {
    let var = &host.paths.var;
    if received::read(var, name).as_deref() != Some(text)
        && let Err(e) = received::write(var, name, text)
    {
        log.warning(format!("{e}: an edit of {} on this node would not be noticed", host.paths.env_file(name).display()));
    }
}

/// The lines that only one of the two has, each with its sign, on a line of its own.
fn difference(ours: &str, theirs: &str) -> Vec<String> {
    let only = |a: &str, b: &str, sign: char| {
        let mut there: Vec<&str> = b.lines().collect();
        let new = a.lines().filter(|line| match there.iter().position(|l| l == line) {
            Some(at) => {
                there.swap_remove(at);
                false
            }
            None => true,
        });
        new.map(|line| format!("\n            {sign} {line}")).collect::<Vec<_>>()
    };
    let mut lines = only(ours, theirs, '-');
    lines.extend(only(theirs, ours, '+'));
    if lines.is_empty() {
        return vec!["\n            the same lines in another order, or other line ends".into()];
    }
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    lines.extend((more > 0).then(|| format!("\n            and {more} more")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Memory;
    use crate::state::gate::Detail;
    use std::sync::Arc;

    const SENT: &str = "[DEFAULT]\nnodes = n1\ndrpnodes = n2\n";

    struct Peer {
        host: Host,
        _dir: tempfile::TempDir,
    }

    impl Peer {
        fn with(file: &str, received: Option<&str>) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let host = Host::fake("n2", dir.path());
            std::fs::create_dir_all(&host.paths.etc).unwrap();
            std::fs::write(host.paths.env_file("svc1"), file).unwrap();
            if let Some(text) = received {
                received::write(&host.paths.var, "svc1", text.as_bytes()).unwrap();
            }
            Self { host, _dir: dir }
        }

        fn log(&self) -> Logger {
            Logger::service(Arc::new(Memory::default()), self.host.clock.clone(), "svc1")
        }

        fn asked(&self, env: &str, look: bool) -> Option<String> {
            let detail = Detail { env: Some(env.into()), ..Detail::default() };
            let question = Question { node: "n1".into(), rids: [("sync#i0".to_owned(), detail)].into(), ..Question::default() };
            let root = self.host.paths.root.clone().unwrap().display().to_string();
            refusal(&self.host, &self.log(), "svc1", &question, look).map(|why| why.replace(&root, ""))
        }

        fn received(&self) -> Option<String> {
            received::read(&self.host.paths.var, "svc1").map(|t| String::from_utf8(t).unwrap())
        }
    }

    #[test]
    fn what_was_edited_here_stays() {
        let peer = Peer::with(&format!("{SENT}comment = mine\n"), Some(SENT));
        assert_eq!(
            peer.asked(&format!("{SENT}app = x\n"), false).as_deref(),
            Some(
                "the files of svc1 are not sent from n1 to n2: /etc/svc1.env was edited on n2
  why:      n2 has lines that n1 has not (-: on n2, +: on n1):
            - comment = mine
            + app = x
  at stake: what was edited on n2
  type:     to keep it: on n1: scp n2:/etc/svc1.env /etc/svc1.env; to drop it: on n2: cp /var/svc1/env.received /etc/svc1.env"
            )
        );
        // the edit was taken over by the sender: it is nobody's own any more
        assert_eq!(peer.asked(&format!("{SENT}comment = mine\n"), true), None);
        assert_eq!(peer.received().as_deref(), Some(SENT), "who looks writes nothing");
        assert_eq!(peer.asked(&format!("{SENT}comment = mine\n"), false), None);
        assert_eq!(peer.asked(SENT, false), None);
    }

    #[test]
    fn what_was_not_edited_is_replaced() {
        assert_eq!(Peer::with(SENT, Some(SENT)).asked("[DEFAULT]\nnew\n", false), None);
        let never = Peer::with(SENT, None);
        assert_eq!(never.asked("[DEFAULT]\nnew\n", false), None, "nobody can tell");
        assert_eq!(never.received(), None);
    }

    #[test]
    fn only_a_file_that_has_come_is_remembered() {
        let peer = Peer::with("edited here\n", Some(SENT));
        let was = before(&peer.host, "svc1");
        arrived(&peer.host, &peer.log(), "svc1", &was);
        assert_eq!(peer.received().as_deref(), Some(SENT), "stamps came, not the file");
        std::fs::write(peer.host.paths.env_file("svc1"), "new\n").unwrap();
        arrived(&peer.host, &peer.log(), "svc1", &was);
        assert_eq!(peer.received().as_deref(), Some("new\n"));
    }

    #[test]
    fn long_differences_are_cut() {
        let many: String = (0..14).map(|n| format!("line {n}\n")).collect();
        let lines = difference(&many, "line 3\n");
        assert_eq!((lines.len(), lines[0].trim(), lines[10].trim()), (11, "- line 0", "and 3 more"));
        assert_eq!(difference("a\nb\n", "b\na\n").len(), 1);
    }
}
