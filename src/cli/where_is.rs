//! `where` on the terminal: one service at once, of several one table at the end.

use super::Session;
use super::args::Format;
use super::console::out;
use crate::render::where_is;
use crate::report::where_is::{Verdict, Where};
use std::sync::Mutex;

/// What was found out of each of several services.
#[derive(Default)]
pub struct Table(Mutex<Vec<Where>>);

/// The exit status, and what is printed now.
pub fn shown(session: &Session, found: Where, many: bool) -> (u8, String) {
    let code = u8::from(found.verdict != Verdict::Held);
    match session.args.format {
        Format::Json => (code, format!("{}\n", serde_json::to_string(&found).unwrap_or_default())),
        Format::Text if !many => (code, where_is::one(&found, session.palette)),
        Format::Text => {
            if let Ok(mut table) = session.table.0.lock() {
                table.push(found);
            }
            (code, String::new())
        }
    }
}

/// Prints the table of several.
pub fn end(session: &Session) {
    let Ok(mut found) = session.table.0.lock() else { return };
    found.sort_by(|a, b| a.service.cmp(&b.service));
    if !found.is_empty() {
        out(&where_is::many(&found, session.palette));
    }
}
