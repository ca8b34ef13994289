//! What each source lay on when it was last sent: `var/NAME/RID.source.json`. A filesystem that is not of the service
//! and not mounted any more leaves an empty folder, and the target must not become one.

use super::{Kind, Rsync, fixed, is_pattern};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::state::atomic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What one source lies on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ground {
    mount: String,
    fstype: String,
}

/// By source, as written in the service file.
pub(super) type Grounds = BTreeMap<String, Ground>;

fn file(cx: &Cx) -> PathBuf {
    cx.host.paths.service_var(cx.service).join(format!("{}.source.json", cx.rid))
}

/// What the sources of `sync` lie on now. An error when they lay on something else at the last sync, or when
/// /etc/fstab says that something else should be mounted there.
pub(super) fn check(sync: &Rsync, cx: &Cx) -> Result<Grounds> {
    let mut now = Grounds::new();
    if sync.kind != Kind::User {
        return Ok(now); // files of the system lie where they lie
    }
    let before = remembered(cx)?;
    for source in &sync.src {
        let path = cx.host.facts.real_path(place(source));
        in_fstab(cx, source, &path)?;
        let Some(mount) = cx.host.facts.mount_of(&path) else { continue };
        let of_service = sync.guard.0.iter().any(|fs| cx.host.facts.real_path(&fs.mnt) == mount.target);
        let ground = Ground { mount: mount.target, fstype: mount.fstype };
        if let Some(old) = before.get(source).filter(|old| old.mount != ground.mount || (!of_service && old.fstype != ground.fstype)) {
            return Err(Error::text(format!(
                "{source} is not sent: at the last sync {} ({}) was mounted there, now it is on {} ({}), and the files on the target would be deleted. \
                 mount it; or, if it has moved for good: rm '{}'",
                old.mount,
                old.fstype,
                ground.mount,
                ground.fstype,
                file(cx).display()
            )));
        }
        now.insert(source.clone(), ground);
    }
    Ok(now)
}

/// Keeps what [`check`] found, after a success.
pub(super) fn remember(cx: &Cx, grounds: &Grounds) -> Result<()> {
    if grounds.is_empty() || remembered(cx).is_ok_and(|old| old == *grounds) {
        return Ok(());
    }
    let text = serde_json::to_string(grounds).map_err(|e| Error::text(e.to_string()))?;
    atomic::write(&file(cx), format!("{text}\n").as_bytes())
}

fn remembered(cx: &Cx) -> Result<Grounds> {
    let path = file(cx);
    match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Grounds::new()),
        Err(e) => Err(Error::io("read", &path)(e)),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
            let file = path.display();
            Error::text(format!("cannot tell whether what is to be sent is mounted: {file}: {e}. if it is: rm '{file}'"))
        }),
    }
}

fn in_fstab(cx: &Cx, source: &str, path: &str) -> Result<()> {
    let missing = |mnt: &String| {
        let real = cx.host.facts.real_path(mnt);
        let holds = Path::new(path).starts_with(&real) || Path::new(source).starts_with(mnt);
        real != "/" && holds && cx.host.facts.mount_at(&real).is_none()
    };
    match cx.host.facts.fstab().into_iter().find(missing) {
        Some(mnt) => Err(Error::text(format!(
            "{source} is not sent: /etc/fstab has {mnt}, which is not mounted, and the files on the target would be deleted. mount it, or take it out of /etc/fstab"
        ))),
        None => Ok(()),
    }
}

/// The path to look at: a pattern's is the folder it begins in.
fn place(source: &str) -> &str {
    if !is_pattern(source) {
        return source;
    }
    fixed(source).rsplit_once('/').map_or("/", |(folder, _)| if folder.is_empty() { "/" } else { folder })
}
