//! Whose volume group it is: the tag with the name of the node that has it, and when that may become another's.

use crate::authority::Refusal;
use crate::host::Cx;
use crate::host::lvm::VolumeGroup;
use crate::host::peers::Standing;
use crate::log::Level;

/// The tag of another node that goes, and how that is said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) tag: String,
    pub(super) level: Level,
    pub(super) said: String,
}

/// The tags of other nodes of the service. Any other tag is the administrator's, and none of our business.
pub(super) fn foreign<'a>(cx: &Cx, group: &'a VolumeGroup) -> Vec<&'a str> {
    let peer = |tag: &&String| cx.scope.peers().any(|node| node.eq_ignore_ascii_case(tag));
    group.tags.iter().filter(peer).map(String::as_str).collect()
}

/// It has the tag of this node.
pub(super) fn is_ours(cx: &Cx, group: &VolumeGroup) -> bool {
    group.tags.contains(&cx.host.node)
}

/// The tags that a start of `vg` here takes away; or why it may not: their owner may be using it.
pub(super) fn claims(cx: &Cx, vg: &str, group: &VolumeGroup) -> Result<Vec<Claim>, Refusal> {
    foreign(cx, group).into_iter().map(|tag| claim(cx, vg, tag)).collect()
}

fn claim(cx: &Cx, vg: &str, tag: &str) -> Result<Claim, Refusal> {
    let (owner, here, service) = (tag.to_lowercase(), &cx.host.node, cx.service);
    let standing = cx.host.peers.standing(service, &owner);
    let taken =
        |level, why: String| Ok(Claim { tag: tag.to_owned(), level, said: format!("{vg} has the tag of {owner}, {why}: taken over") });
    let refused = |why: String, remedy: String| {
        Err(Refusal {
            what: format!("{vg} is not activated on {here}: it has the tag of {owner}"),
            why,
            stake: "a filesystem that two nodes have mounted is destroyed".into(),
            remedy,
        })
    };
    match standing {
        Some(Standing::Down) => taken(Level::Info, format!("where {service} is down")),
        Some(Standing::Vouched) => {
            taken(Level::Warning, "which does not answer, and the cluster manager asks for this start (--cluster)".into())
        }
        Some(Standing::Active(what)) => refused(
            format!("{owner} answers, and {what}: it may be using {vg} at this moment"),
            format!("on {owner}: svcmgr -s {service} stop   (then on {here} again what you have typed)"),
        ),
        Some(Standing::Silent(why)) if cx.force => taken(Level::Warning, format!("which was not heard ({why}), with --force")),
        None if cx.force => taken(Level::Warning, "which was not asked, with --force".into()),
        Some(Standing::Silent(why)) => refused(
            format!("{owner} does not say that {service} is down there ({why}): it may be using {vg} at this moment"),
            format!("if {owner} is powered off, on {here}: svcmgr -s {service} start --force   (else make it answer, and start again)"),
        ),
        None => refused(
            format!("this action does not ask {owner}, which may be using {vg} at this moment"),
            format!("on {here}: svcmgr -s {service} start   (or, if {owner} is powered off, what you have typed with --force)"),
        ),
    }
}
