//! svcfreeze, svcthaw, svcfrozen: the flags of a service, or of the node.

use super::Session;
use super::console::err;
use crate::error::Result;
use crate::state::frozen;

/// `svcfreeze [service]` and its like. Without a service: the node; svcthaw then removes every flag.
pub fn run(session: &Session, verb: &str) -> Result<u8> {
    let words = &session.args.words;
    if words.len() > 1 {
        err(&format!("{} [service]", session.name));
        return Ok(1);
    }
    let service = words.first().map(String::as_str);
    let paths = &session.host.paths;
    if let Some(name) = service
        && !paths.env_file(name).exists()
    {
        err(&format!("{}: no service {name}", session.name));
        return Ok(u8::from(verb == "frozen"));
    }
    match verb {
        "freeze" => frozen::freeze(&paths.var, service).map(|()| 0),
        "thaw" => frozen::thaw(&paths.var, service).map(|()| 0),
        _ => Ok(u8::from(service.map_or_else(|| frozen::is_set(&paths.var, None), |s| frozen::is_frozen(&paths.var, s)))),
    }
}
