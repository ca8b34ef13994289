//! The status tree of `print status`, column for column as in 2014.

use super::color::Palette;
use super::wrap::wrap;
use crate::report::{Branch, ResourceReport, ServiceReport};
use crate::status::Status;
use std::fmt::Write;

/// Columns of a wrapped message line, its prefix included.
const WIDTH: usize = 78;

/// The whole tree; every line ends in a newline and keeps its trailing blanks.
pub fn render(report: &ServiceReport, palette: Palette) -> String {
    let mut out = format!("{}\n", palette.bold(&report.service));
    head(&mut out, "overall", 20, report.overall, palette);
    for (title, branch) in [("avail", Branch::Avail), ("sync", Branch::Sync), ("hb", Branch::Hb)] {
        let status = match branch {
            Branch::Avail => report.avail,
            Branch::Sync => report.groups.get("sync").copied().unwrap_or(Status::Na),
            Branch::Hb => report.groups.get("hb").copied().unwrap_or(Status::Na),
        };
        out.push_str(if branch == Branch::Hb { "'- " } else { "|- " });
        head(&mut out, title, 17, status, palette);
        let bar = if branch == Branch::Hb { "   " } else { "|  " };
        let rows = report.rows(branch);
        for (n, row) in rows.iter().enumerate() {
            resource(&mut out, row, bar, n + 1 == rows.len(), palette);
        }
    }
    out
}

fn head(out: &mut String, title: &str, width: usize, status: Status, palette: Palette) {
    let state = palette.state(status, &format!("{:<8}", status.name()));
    let _ = writeln!(out, "{title:<width$} {:4} {state} ", "");
}

/// `MDOE`, `.` where unset.
pub fn flags(row: &ResourceReport) -> String {
    let flag = |on, letter| if on { letter } else { '.' };
    [flag(row.monitor, 'M'), flag(row.disable, 'D'), flag(row.optional, 'O'), flag(row.encap, 'E')].iter().collect()
}

fn resource(out: &mut String, row: &ResourceReport, bar: &str, last: bool, palette: Palette) {
    let branch = if last { "'- " } else { "|- " };
    let state = palette.state(row.status, &format!("{:<8}", row.status.name()));
    let _ = writeln!(out, "{bar}{branch}{:<14} {} {state} {}", row.rid, flags(row), row.label);
    if row.messages.is_empty() {
        return;
    }
    let prefix = match (last, row.rtype.starts_with("container")) {
        (true, _) => format!("{bar}   {:<14} {:4} {:<8} ", "", "", ""),
        (false, false) => format!("{bar}|  {:<14} {:4} {:<8} ", "", "", ""),
        (false, true) => format!("{bar}|  |  {:<11} {:4} {:<8} ", "", "", ""),
    };
    let text = row.messages.iter().map(|m| format!("# {m}")).collect::<Vec<_>>().join(" ");
    for line in wrap(&text, WIDTH - prefix.chars().count()) {
        let _ = writeln!(out, "{prefix}{line}");
    }
}
