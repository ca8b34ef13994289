//! Under which of its names the program was called.

/// Under which name the program was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// `svcmgr`: has `-s`.
    Svcmgr,
    /// One of the `all*services`.
    All(Which),
    /// A service's own name; `NAME.cluster` implies `--cluster`.
    Service(String),
    /// `svcmon`.
    Svcmon,
    /// `nodemgr`.
    Nodemgr,
    /// `svcfreeze`, `svcthaw`, `svcfrozen`.
    Freezer(&'static str),
}

/// What an `all*services` name selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Every service.
    All,
    /// Those that are up.
    Up,
    /// Those that are down.
    Down,
    /// Those this node starts at boot.
    Primary,
    /// The others.
    Secondary,
}

impl Program {
    /// From argv[0]. The second value: `--cluster` is implied.
    pub fn of(argv0: &str) -> (Self, bool) {
        let name = argv0.rsplit('/').next().unwrap_or(argv0);
        let program = match name {
            "svcmgr" => Self::Svcmgr,
            "allservices" => Self::All(Which::All),
            "allupservices" => Self::All(Which::Up),
            "alldownservices" => Self::All(Which::Down),
            "allprimaryservices" => Self::All(Which::Primary),
            "allsecondaryservices" => Self::All(Which::Secondary),
            "svcmon" => Self::Svcmon,
            "nodemgr" => Self::Nodemgr,
            "svcfreeze" => Self::Freezer("freeze"),
            "svcthaw" => Self::Freezer("thaw"),
            "svcfrozen" => Self::Freezer("frozen"),
            other => match other.strip_suffix(".cluster") {
                Some(service) => return (Self::Service(service.into()), true),
                None => Self::Service(other.into()),
            },
        };
        (program, false)
    }
}
