//! Two threads and the buffers that go round between them: one fills, the other empties.

use super::buffer::{Buffer, Piece};
use super::error::{Error, Result};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// A buffer on its way: `len` bytes of it count, and the pieces say where they belong.
#[derive(Debug, Default)]
pub struct Load {
    /// The memory.
    pub buffer: Buffer,
    /// How much of it is filled.
    pub len: usize,
    /// What lies where.
    pub pieces: Vec<Piece>,
}

/// What goes round between the threads.
pub trait Reuse {
    /// Empty again, memory kept.
    fn reuse(&mut self);
}

impl Reuse for Load {
    fn reuse(&mut self) {
        self.len = 0;
        self.pieces.clear();
    }
}

impl Load {
    /// Empty, for `size` bytes.
    pub fn new(size: usize) -> Self {
        Self { buffer: Buffer::new(size), len: 0, pieces: Vec::new() }
    }

    /// The filled part.
    pub fn filled(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// Bytes that may still be filled.
    pub fn room(&self) -> usize {
        self.buffer.len().saturating_sub(self.len)
    }
}

/// The filling side.
#[derive(Debug)]
pub struct Feed<L = Load> {
    free: Receiver<L>,
    full: SyncSender<L>,
}

impl<L: Reuse> Feed<L> {
    /// An empty load; waits until there is one.
    pub fn take(&self) -> Result<L> {
        let mut load = self.free.recv().map_err(|_| stopped())?;
        load.reuse();
        Ok(load)
    }

    /// Hands a load over.
    pub fn send(&self, load: L) -> Result<()> {
        self.full.send(load).map_err(|_| stopped())
    }
}

/// Never shown: the other side's error is.
fn stopped() -> Error {
    Error::new("dds", "the other thread ended")
}

/// As `round`, with `count` loads of `size` bytes.
pub fn run<T>(
    count: usize,
    size: usize,
    fill: impl FnOnce(&Feed) -> Result<T>,
    empty: impl FnMut(&Load) -> Result<()> + Send,
) -> Result<T> {
    round((0..count).map(|_| Load::new(size)).collect(), fill, empty)
}

/// Runs `fill` here and `empty` in a thread of its own; `loads` go round between them. Ends when both have; the error of `empty`, if
/// it has one, is the cause of any other.
pub fn round<L: Reuse + Send, T>(
    loads: Vec<L>,
    fill: impl FnOnce(&Feed<L>) -> Result<T>,
    mut empty: impl FnMut(&L) -> Result<()> + Send,
) -> Result<T> {
    let (give_back, free) = sync_channel(loads.len());
    let (full, filled) = sync_channel::<L>(loads.len());
    for load in loads {
        _ = give_back.send(load);
    }
    thread::scope(|scope| {
        let emptying = scope.spawn(move || {
            for load in filled {
                empty(&load)?;
                _ = give_back.send(load);
            }
            Ok(())
        });
        let feed = Feed { free, full };
        let done = fill(&feed);
        drop(feed);
        emptying.join().unwrap_or_else(|_| Err(Error::new("dds", "a defect of this program stopped it")))?;
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_arrive_in_order_and_the_cause_is_told() {
        let mut seen = Vec::new();
        let fill = |feed: &Feed| {
            for n in 0..100 {
                let mut load = feed.take()?;
                load.len = n;
                feed.send(load)?;
            }
            Ok(7)
        };
        assert_eq!(run(3, 128, fill, |l| Ok(seen.push(l.len))), Ok(7));
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        let broken = run(3, 128, fill, |l| if l.len == 9 { Err(Error::new("disk", "full")) } else { Ok(()) });
        assert_eq!(broken.unwrap_err().to_string(), "disk: full");
        let read = run(3, 128, |feed| feed.take().and(Err::<(), _>(Error::new("tape", "torn"))), |_| Ok(()));
        assert_eq!(read.unwrap_err().to_string(), "tape: torn");
    }
}
