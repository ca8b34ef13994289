//! Files beside the service file: the launcher folder and the links that make the service's name a command.

use super::super::Session;
use crate::error::{Error, Result};
use crate::host::paths::Paths;
use crate::service::Service;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What was made so far, so that it can be taken back.
#[derive(Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Made {
    /// A new file with this content; an error if there is one.
    pub fn file(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let mut temp = tempfile::Builder::new().prefix(".").tempfile_in(folder).map_err(Error::io("write in", folder))?;
        temp.write_all(bytes).map_err(Error::io("write", path))?;
        temp.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(Error::io("set the mode of", path))?;
        temp.as_file().sync_all().map_err(Error::io("write", path))?;
        // of two that make the same service, one finds the file there
        temp.persist_noclobber(path).map_err(|e| Error::io("make", path)(e.error))?;
        self.0.push(path.into());
        fs::File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io("sync", folder))
    }

    /// `NAME.dir`, `NAME.d` -> `NAME.dir`, and in a classic tree `NAME` -> `../bin/svcmgr`; what is there stays.
    pub fn links(&mut self, paths: &Paths, name: &str) -> Result<()> {
        let dir = paths.etc.join(format!("{name}.dir"));
        if !dir.is_dir() {
            fs::create_dir(&dir).map_err(Error::io("create", &dir))?;
            self.0.push(dir);
        }
        self.link(&format!("{name}.dir"), paths.etc.join(format!("{name}.d")))?;
        if paths.root.is_some() {
            self.link("../bin/svcmgr", paths.etc.join(name))?;
        }
        Ok(())
    }

    fn link(&mut self, target: &str, link: PathBuf) -> Result<()> {
        if link.symlink_metadata().is_err() {
            symlink(target, &link).map_err(Error::io("make the link", &link))?;
            self.0.push(link);
        }
        Ok(())
    }

    /// Takes everything back; a folder that is no longer empty stays.
    pub fn undo(&self) {
        for path in self.0.iter().rev() {
            let _ = if path.is_dir() && !path.is_symlink() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
    }
}

/// Makes or mends `etc/NAME.cluster`, the command a cluster manager calls, for a service with an hb section.
/// A link that cannot be made stops nothing: it is said on stderr.
pub fn mend_links(session: &Session, service: &Service) {
    let paths = &session.host.paths;
    if session.args.options.dry_run || service.hbs().next().is_none() {
        return;
    }
    let target = if paths.root.is_some() { PathBuf::from("../bin/svcmgr") } else { paths.program.clone() };
    let link = paths.etc.join(format!("{}.cluster", service.name));
    if fs::read_link(&link).is_ok_and(|t| t == target) {
        return;
    }
    let temp = paths.etc.join(format!(".{}.cluster.{}", service.name, std::process::id()));
    let _ = fs::remove_file(&temp);
    if let Err(e) = symlink(&target, &temp).and_then(|()| fs::rename(&temp, &link)) {
        super::super::console::err(&format!("cannot make the link {}: {e}", link.display()));
    }
}
