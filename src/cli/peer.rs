//! What peers call over ssh: gate and recv. Their stdin and stdout belong to the protocol.

use super::Session;
use super::console::out;
use crate::action::{Id, Info};
use crate::dr;
use crate::error::{Error, Result};
use crate::host::btrfs;

/// Answers one call.
pub fn run(session: &Session, info: &Info) -> Result<u8> {
    let [name] = session.args.services.as_slice() else {
        return Err(Error::Usage(format!("{} takes one service: svcmgr -s NAME {}", info.name, info.name)));
    };
    let log = session.logger(name, session.console.clone());
    btrfs::keeping(&session.host, &log, || match info.id {
        Id::Gate => {
            let answer = dr::gate::serve(&session.host, &log, name, session.args.ask, &mut std::io::stdin().lock())?;
            out(&answer);
            Ok(0)
        }
        _ => {
            let rid = session.args.options.rids.first().map_or("", String::as_str);
            dr::recv::serve(&session.host, &log, name, rid, session.args.epoch, &session.args.rest)
        }
    })
}
