//! svcmgr template, completion, man: what helps to write a service file or a command line.

use super::args::{self, Program};
use super::console::out;
use crate::action::{ACTIONS, Class};
use crate::error::{Error, Result};
use clap_complete::Shell;

macro_rules! templates {
    ($($name:literal)*) => { &[$(($name, include_str!(concat!("../../templates/", $name, ".env")))),*] };
}

/// One commented env file per driver, by full type, and for the sections that are no resource.
pub const TEMPLATES: &[(&str, &str)] = templates!(
    "DEFAULT" "subset" "ip" "loop" "vg" "pool" "fs" "fs.zfs" "container.docker" "app" "hb"
    "sync.rsync" "sync.dds" "sync.zfs" "sync.btrfs" "sync.docker"
);

/// `svcmgr template NAME`; without a name, the names there are.
pub fn print(words: &[String]) -> Result<u8> {
    let names = || TEMPLATES.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    match words {
        [] => out(&format!("{}\n", names().join("\n"))),
        [word] => match TEMPLATES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word) || *name == format!("sync.{word}")) {
            Some((_, text)) => out(text),
            None => return Err(Error::Usage(format!("no template {word}: there are {}", names().join(", ")))),
        },
        _ => return Err(Error::Usage("template takes one name".into())),
    }
    Ok(0)
}

/// `svcmgr completion bash|zsh|fish`.
pub fn completion(program: &Program, words: &[String]) -> Result<u8> {
    let shell: Option<Shell> = match words {
        [shell] => shell.parse().ok(),
        _ => None,
    };
    let Some(shell) = shell else { return Err(Error::Usage("completion takes the name of a shell: bash, zsh, fish".into())) };
    let actions: Vec<&str> = ACTIONS.iter().filter(|a| !matches!(a.class, Class::Peer)).map(|a| a.name).collect();
    let mut command = args::command(program, "svcmgr").mut_arg("words", |a| a.value_parser(actions));
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "svcmgr", &mut text);
    out(&String::from_utf8_lossy(&text));
    Ok(0)
}

/// `svcmgr man`: the manual page.
pub fn man(program: &Program) -> Result<u8> {
    let mut text = Vec::new();
    clap_mangen::Man::new(args::command(program, "svcmgr"))
        .render(&mut text)
        .map_err(|e| Error::text(format!("cannot make the man page: {e}")))?;
    out(&String::from_utf8_lossy(&text));
    Ok(0)
}
