//! Commands about the service file itself: view, check, edit, create. They work though the service cannot be built.

mod create;
mod editor;
mod flags;
mod links;
mod params;
mod resources;
mod show;
mod store;

pub use links::mend_links;

use super::Session;
use crate::action::{Id, Info};
use crate::error::{Error, Result};
use crate::log::Logger;
use store::Store;

/// Does one of them; returns the exit status and what goes to stdout.
pub fn run(session: &Session, log: &Logger, name: &str, info: &Info) -> Result<(u8, String)> {
    let args = &session.args;
    let store = Store { host: &session.host, log, name, dry_run: args.options.dry_run };
    let printed = |text: String| Ok((0, text));
    match info.id {
        Id::Validate => show::validate(&store, args.format, session.palette.on),
        Id::PrintConfig => show::config(&store, args.impersonate.as_deref(), args.format).and_then(printed),
        Id::JsonEnv => show::json_env(&store).and_then(printed),
        Id::PrintEnvMtime => show::mtime(&store).and_then(printed),
        Id::Get => params::get(&store, args.param.as_deref()).and_then(printed),
        Id::Set => params::set(&store, args.param.as_deref(), args.value.as_deref()).and_then(printed),
        Id::Unset => params::unset(&store, args.param.as_deref()).and_then(printed),
        Id::Enable => flags::disable(&store, &args.options.rids, false).and_then(printed),
        Id::Disable => flags::disable(&store, &args.options.rids, true).and_then(printed),
        Id::Delete => resources::delete(&store, &args.options.rids).and_then(printed),
        Id::Update => resources::update(&store, &args.resources).and_then(printed),
        Id::Create => create::create(&store, &args.resources),
        Id::Install => create::install(&store, args.envfile.as_deref()).and_then(printed),
        Id::EditConfig => editor::edit(&store, session.palette.on).and_then(printed),
        _ => Err(Error::text(format!("{} is not about the service file", info.name))),
    }
}

/// A refusal in the words of 2014: on stderr as it stands, without a log line.
fn refuse<T>(line: &str) -> Result<T> {
    super::console::err(line);
    Err(Error::Reported)
}
