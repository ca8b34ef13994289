//! The table of svcmon, as in 2014.

use super::color::Palette;
use crate::report::ServiceReport;
use crate::status::Status;
use std::fmt::Write;

const COLUMNS: [&str; 8] = ["container", "ip", "disk", "fs", "share", "app", "hb", "sync"];

struct Row<'a>([&'a str; 14]);

impl Row<'_> {
    fn line(&self, width: usize) -> String {
        let [name, a, b, c, d, e, f, g, h, i, j, k, l, m] = self.0;
        format!("{name:<width$} {a:<7} {b:<9} {c:<9} {d:<9} {e:<10} {f:<10} {g:<10} {h:<10} {i:<9} {j:<9} {k:<10} {l:<10} {m:<6}\n")
    }
}

/// Three header lines, then one line a service.
pub fn render(reports: &[ServiceReport], palette: Palette) -> String {
    let width = reports.iter().map(|r| r.service.chars().count()).max().unwrap_or(0).max(7);
    let mut out = String::new();
    let heads = [
        [
            "service",
            "service",
            "container",
            "container",
            "ip    ",
            "disk  ",
            "fs    ",
            "share ",
            "app   ",
            "hb    ",
            "sync  ",
            "avail ",
            "overall",
            "      ",
        ],
        [
            "name   ",
            "type   ",
            "type     ",
            "status   ",
            "status",
            "status",
            "status",
            "status",
            "status",
            "status",
            "status",
            "status",
            "status ",
            "frozen",
        ],
        [
            "-------",
            "-------",
            "---------",
            "---------",
            "------",
            "------",
            "------",
            "------",
            "------",
            "------",
            "------",
            "------",
            "-------",
            "------",
        ],
    ];
    for head in heads {
        out.push_str(&Row(head).line(width));
    }
    for report in reports {
        out.push_str(&line(report, width, palette));
    }
    out
}

fn line(report: &ServiceReport, width: usize, palette: Palette) -> String {
    let state = |status: Status, width: usize| palette.state(status, &format!("{:<width$}", status.name()));
    let group = |name: &str| report.groups.get(name).copied().unwrap_or(Status::Na);
    let mut out = String::new();
    let _ = write!(out, "{:<width$} {:<7} {:<9}", report.service, report.service_type, report.mode);
    for (name, width) in COLUMNS.into_iter().zip([9, 9, 10, 10, 10, 10, 9, 9]) {
        let _ = write!(out, " {}", state(group(name), width));
    }
    let frozen = if report.frozen { "True" } else { "False" };
    let _ = writeln!(out, " {} {} {frozen:<6}", state(report.avail, 10), state(report.overall, 10));
    out
}
