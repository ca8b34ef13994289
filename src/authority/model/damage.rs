//! What happens to the files below var.

use super::kinds::{NAMES, World, number_of};
use crate::state::authority::Known;

impl World {
    /// Damages what a machine remembers. It is of the kind: lost or cut record, lost or strange replica file.
    pub fn damage(&mut self, n: usize, kind: u8) {
        // out of reach: what is lost was promised a moment ago, and the takeover is still under way
        let promised = self.nodes[n].here.promise().is_some_and(|p| self.busy(number_of(&p.node)).is_some());
        if self.busy(n).is_some() || promised {
            return;
        }
        let here = &mut self.nodes[n].here;
        match kind % 4 {
            0 => here.record = Known::Absent,
            1 if here.record != Known::Absent => here.record = Known::Unknown("authority.json is damaged".into()),
            2 => {
                here.replicas.insert("sync#1".into(), Known::Absent);
            }
            3 => {
                if let Some(Known::Known(replica)) = here.replicas.get_mut("sync#1") {
                    replica.node = "d9".into();
                }
            }
            _ => return,
        }
        self.nodes[n].damaged_at = self.events;
        self.tell(format!(
            "DAMAGE {} {}",
            NAMES[n],
            ["record lost", "record cut", "replica lost", "replica of another node"][usize::from(kind % 4)]
        ));
        self.reload(n);
    }

    /// var is saved, or comes back from there.
    pub fn backup(&mut self, n: usize) {
        let here = self.nodes[n].here.clone();
        self.nodes[n].backup = Some(here);
        self.tell(format!("BACKUP {}", NAMES[n]));
    }

    pub fn restore(&mut self, n: usize) {
        let promised = self.nodes[n].here.promise().is_some_and(|p| self.busy(number_of(&p.node)).is_some());
        if self.busy(n).is_some() || self.nodes[n].running || promised {
            return;
        }
        let now = self.now(n);
        let Some(mut here) = self.nodes[n].backup.clone() else { return };
        here.now = now;
        self.nodes[n].here = here;
        self.nodes[n].restored_at = self.events;
        self.tell(format!("RESTORE {}", NAMES[n]));
        self.reload(n);
    }
}
