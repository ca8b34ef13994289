//! Tests on real LVM, in a virtual machine: two nodes in one guest, whose power can be cut.
//!
//! `cargo test --test vm` boots the guest and runs all scenarios in it, one after the other; `cargo test --test vm -- NAME`
//! those whose name contains NAME. `--nocapture` shows what they run as they run it, `--ignored` runs those that are
//! left out of `make test` because they take long, `--include-ignored` all, `--list` names them. The guest is emulated (KVM
//! is not needed) and ten times slower than this machine: a command of LVM takes half a second.
//!
//! A scenario is a function in a file of this folder, and a line in that file's `ALL`. It is given a [`guest::Guest`] and panics
//! if something is wrong; what it ran is shown then. Each takes its own volume groups ([`guest::Node::vg`]), named
//! differently from all others, as all nodes share one kernel. One that is about a power cut has several parts:
//! the power is cut after each but the last, or when one calls [`guest::Guest::power_cut`], and the next begins in
//! a machine that has just booted with the same disks. `/opt/opensvc` and all else on the nodes is on a disk too.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may panic, print, and run commands of its own"
)]

mod guest;
mod host;
mod node;

#[path = "../dds/bed.rs"]
#[allow(dead_code, reason = "shared with the tests of dds that need no guest")]
mod bed;
#[path = "../dds/vectors.rs"]
#[allow(dead_code, unused_imports, reason = "its tests run without a guest")]
mod vectors;

mod dds_crash;
mod dds_kernel;
mod dds_moves;
mod dds_sync;
mod dds_target;
mod docker;
mod rsync_snap;
mod smoke;
mod tutorial;
mod vg;

use guest::Guest;
use std::process::ExitCode;

/// One test.
pub struct Scenario {
    /// `file::function`.
    pub name: &'static str,
    /// The power is cut between them.
    pub parts: &'static [fn(&Guest)],
    /// Left out unless it is asked for.
    pub long: bool,
}

impl Scenario {
    /// Only with `--ignored` or `--include-ignored`: for those that take long.
    pub const fn on_demand(self) -> Self {
        Self { long: true, ..self }
    }
}

/// `scenario!(f)`, or `scenario!(f, then: [g, h])` where the power is cut after `f` and after `g`.
#[macro_export]
macro_rules! scenario {
    ($first:ident $(, then: [$($next:ident),+])?) => {
        $crate::Scenario {
            name: concat!(module_path!(), "::", stringify!($first)),
            parts: &[$first $($(, $next)+)?],
            long: false,
        }
    };
}

/// In the order in which they run.
const FILES: &[&[Scenario]] = &[
    smoke::ALL,
    rsync_snap::ALL,
    vg::ALL,
    dds_kernel::ALL,
    dds_sync::ALL,
    dds_target::ALL,
    dds_moves::ALL,
    dds_crash::ALL,
    tutorial::ALL,
    docker::ALL,
];

fn all() -> impl Iterator<Item = &'static Scenario> {
    FILES.iter().copied().flatten()
}

impl Scenario {
    /// Without the name of this program.
    pub fn short(&self) -> &'static str {
        self.name.trim_start_matches("vm::")
    }
}

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(node::VARIABLE) {
        node::first_process(&name);
    }
    if std::env::var_os("vm_share").is_some() { guest::main() } else { host::main() }
}
