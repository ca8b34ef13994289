//! Where the files of this installation are.

use std::path::{Path, PathBuf};

/// The folders of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The root of a classic tree (`/opt/opensvc`), if this is one.
    pub root: Option<PathBuf>,
    /// Service files, node.conf.
    pub etc: PathBuf,
    /// State.
    pub var: PathBuf,
    /// Logs.
    pub log: PathBuf,
    /// Outputs of launchers.
    pub tmp: PathBuf,
    /// The running program's real path.
    pub program: PathBuf,
}

impl Paths {
    /// The tree at `root`.
    pub fn classic(root: &Path, program: PathBuf) -> Self {
        let dir = |name: &str| root.join(name);
        Self { root: Some(root.into()), etc: dir("etc"), var: dir("var"), log: dir("log"), tmp: dir("tmp"), program }
    }

    /// 1. `OPENSVC_ROOT`; 2. the program is `DIR/bin/svcmgr` and `DIR/etc` exists (`/usr` and
    ///    `/usr/local` never count); 3. the system's folders.
    pub fn find(opensvc_root: Option<&str>, program: PathBuf) -> Self {
        if let Some(root) = opensvc_root.filter(|r| !r.is_empty()) {
            return Self::classic(Path::new(root), program);
        }
        let bin = program.parent().filter(|b| b.ends_with("bin"));
        let counts =
            |root: &Path| ![Path::new("/"), Path::new("/usr"), Path::new("/usr/local")].contains(&root) && root.join("etc").is_dir();
        if let Some(root) = bin.and_then(Path::parent).filter(|r| counts(r)).map(Path::to_path_buf) {
            return Self::classic(&root, program);
        }
        let var = PathBuf::from("/var/lib/opensvc");
        Self { root: None, etc: "/etc/opensvc".into(), tmp: var.join("tmp"), var, log: "/var/log/opensvc".into(), program }
    }

    /// `etc/NAME.env`.
    pub fn env_file(&self, service: &str) -> PathBuf {
        self.etc.join(format!("{service}.env"))
    }

    /// `var/NAME`: the service's own state.
    pub fn service_var(&self, service: &str) -> PathBuf {
        self.var.join(service)
    }

    /// The words that run svcmgr on a peer with the same layout.
    pub fn remote_svcmgr(&self) -> Vec<String> {
        match &self.root {
            Some(root) => {
                let root = root.display();
                vec!["env".into(), format!("OPENSVC_ROOT={root}"), format!("{root}/bin/svcmgr")]
            }
            None => vec!["svcmgr".into()],
        }
    }

    /// The names of all services: each `etc/NAME.env`, in byte order.
    pub fn services(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.etc)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().to_str()?.strip_suffix(".env").map(str::to_owned))
            .filter(|n| !n.is_empty() && !n.starts_with('.'))
            .collect();
        names.sort();
        names
    }
}
