//! Whoever is called at 3 a.m. and types what is printed.

use super::kinds::{Mode, NAMES, SERVICE, Todo, World, copy_of, number_of, refuse};
use super::takeover::learn;
use crate::authority::start::{Decision, How, View, decide};

/// Commands that may be typed until all is well.
const PATIENCE: usize = 12;

/// What is printed to type: machine and words, in the order of print.
pub fn suggestions(remedy: &str) -> Vec<(usize, String)> {
    let command = format!("svcmgr -s {SERVICE} ");
    let mut node = None;
    let mut found = Vec::new();
    let mut pieces = remedy.split(&command);
    let mut before = pieces.next().unwrap_or_default();
    for piece in pieces {
        let named = before.trim_end().strip_suffix(':').and_then(|b| b.split_whitespace().last()).filter(|n| NAMES.contains(n));
        node = named.map(number_of).or(node);
        let words = piece.split(['(', ')', ';', ',']).next().unwrap_or_default().trim();
        found.extend(node.map(|n| (n, words.to_owned())));
        before = piece;
    }
    found
}

impl World {
    /// All is mended: cables, machines. What nobody does any more is over.
    pub fn repair(&mut self) -> Result<(), String> {
        self.tell("ALL IS MENDED");
        self.cut.clear();
        for n in 0..NAMES.len() {
            self.nodes[n].tear = false;
            self.finish(n)?;
        }
        for (n, name) in NAMES.iter().enumerate() {
            if !self.nodes[n].up {
                self.tell(format!("BOOT {name}"));
                self.wake(n);
                self.run(n, "boot", How::default(), vec![Todo::Boot(true)], false)?;
            }
        }
        Ok(())
    }

    /// What is printed leads to one running instance, and copies of it everywhere.
    pub fn way_out(&mut self) -> Result<(), String> {
        let mut typed: Vec<(usize, String)> = Vec::new();
        for _ in 0..PATIENCE {
            let Some(remedy) = self.trouble()? else { return Ok(()) };
            let all = suggestions(&remedy);
            // the first that was not tried yet
            let Some((n, words)) = all.iter().find(|s| !typed.contains(s)).or(all.first()).cloned() else {
                return Err(format!("nothing to type: {remedy}"));
            };
            typed.push((n, words.clone()));
            self.type_in(n, &words)?;
        }
        Err(format!("no way out in {PATIENCE} steps"))
    }

    /// What is wrong, as it is printed; none: all is well.
    fn trouble(&mut self) -> Result<Option<String>, String> {
        // what was refused a moment ago is on the screen
        if let Some(refusal) = self.refused.take().filter(|r| !suggestions(&r.remedy).is_empty()) {
            return Ok(Some(refusal.remedy));
        }
        (0..NAMES.len()).filter(|n| self.nodes[*n].running).collect::<Vec<_>>().into_iter().for_each(|n| self.look_around(n));
        let up: Vec<usize> = (0..NAMES.len()).filter(|n| self.nodes[*n].running).collect();
        match up.as_slice() {
            [] => Ok(Some(format!("on n1: svcmgr -s {SERVICE} start"))),
            [one] if !self.nodes[*one].here.holds() => Ok(Some(self.where_line(*one))),
            [one] => {
                let todo = (0..NAMES.len()).filter(|t| copy_of(*t) != copy_of(*one) && *t != 1);
                for to in todo {
                    let todo = self.transfer(*one, to, Mode::Sync);
                    self.run(*one, "sync", How::default(), todo, false)?;
                    if let Some(refusal) = self.refused.take() {
                        return Ok(Some(refusal.remedy));
                    }
                }
                Ok(None)
            }
            [first, ..] => Ok(Some(self.where_line(*first))),
        }
    }

    /// The last line of `where` on a machine: what to type.
    fn where_line(&self, n: usize) -> String {
        let mut here = self.nodes[n].here.clone();
        let answers = self.answers(n);
        learn(&mut here, &answers);
        let Ok(holder) = here.holder() else {
            let view = View { here: &here, answers: &answers, flex: false };
            return match decide(&view, &How::default()) {
                Decision::Refuse(refusal) => refusal.remedy,
                Decision::Go(_) => String::new(),
            };
        };
        let mut sides = vec![number_of(&holder.node)];
        sides.extend(here.rival().map(|r| number_of(&r.node)));
        for p in (0..NAMES.len()).filter(|p| self.nodes[*p].running && self.reach(n, *p)) {
            // of a copy the machine where it runs
            match sides.iter_mut().find(|s| copy_of(**s) == copy_of(p)) {
                Some(side) => *side = p,
                None => sides.push(p),
            }
        }
        if let [one] = sides.as_slice() {
            let words = if self.nodes[*one].running { "print status" } else { "start" };
            return format!("on {}: svcmgr -s {SERVICE} {words}", NAMES[*one]);
        }
        let keep = |p: &usize| {
            let other = sides.iter().find(|s| *s != p).unwrap();
            format!("on {}: svcmgr -s {SERVICE} takeover --abandon {}", NAMES[*p], NAMES[*other])
        };
        sides.iter().map(keep).collect::<Vec<_>>().join("; ")
    }

    fn type_in(&mut self, n: usize, words: &str) -> Result<(), String> {
        self.tell(format!("{}$ svcmgr -s {SERVICE} {words}", NAMES[n]));
        self.tick(60);
        let all: Vec<&str> = words.split_whitespace().collect();
        let abandon = all.iter().position(|w| *w == "--abandon").map(|i| all[i + 1].to_owned());
        let how = How { takeover: all[0] == "takeover", force: all.contains(&"--force"), abandon: abandon.clone() };
        match all[0] {
            "start" | "takeover" => self.run(n, all[0], how, vec![Todo::Ask], false),
            "stop" => {
                self.stop(n);
                Ok(())
            }
            "startstandby" => {
                self.look_around(n);
                Ok(())
            }
            "print" => Ok(()),
            "where" => {
                let line = self.where_line(n);
                self.refused = Some(refuse("where", line));
                Ok(())
            }
            "giveback" => self.giveback(n, 0, abandon.is_some(), false),
            "switch" => {
                self.stop(n);
                self.run(number_of(all[2]), "start", How::default(), vec![Todo::Ask], false)
            }
            "sync" => match abandon {
                Some(loser) => self.sync_abandon(n, number_of(&loser)),
                None => self.sync(n, 0, false),
            },
            other => Err(format!("{other} is no command")),
        }
    }
}
