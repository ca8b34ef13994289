//! The service's own file, on the node that sends it: one that does not work goes nowhere.

use super::Work;
use crate::authority::Refusal;
use crate::service::validate::{Severity, Viewer, validate};
use crate::state::received;

/// Why the service's own files are not sent, if they are not: the first error of the service file.
pub(super) fn refusal(work: &Work) -> Option<String> {
    let (name, node) = (&work.service.name, &work.host.node);
    let env = &work.service.config.env;
    let found = validate(env, name, Viewer { node, host_mode: work.host.conf.host_mode() });
    let mut errors = found.iter().filter(|d| d.severity == Severity::Error);
    let first = errors.next()?;
    let line = first.span.map_or_else(String::new, |span| format!(":{}", span.line));
    let more = match errors.count() {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    let refusal = Refusal {
        what: format!("the files of {name} are not sent from {node}: {} has errors", env.path().display()),
        why: format!("{}{line}: {}{more}", env.path().display(), first.message),
        stake: format!("{name} on the other nodes: it would not work there either"),
        remedy: format!("on {node}: svcmgr -s {name} validate"),
    };
    Some(refusal.to_string())
}

/// They have arrived somewhere: what is in the file is not this node's alone any more. Of use only where the file has
/// come from elsewhere before.
pub(super) fn sent(work: &Work) {
    let (var, name) = (&work.host.paths.var, &work.service.name);
    let Some(known) = received::read(var, name) else { return };
    // as it was read when this command began: an edit since then may not have been sent
    let text = work.service.config.env.to_bytes();
    if text != known
        && let Err(e) = received::write(var, name, text)
    {
        work.log.warning(e.to_string());
    }
}
