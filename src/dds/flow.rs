//! Threads and the buffers that go round between them: one fills, others work on what is filled, one empties.

use super::buffer::{Buffer, Piece};
use super::error::{Error, Result};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
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
    /// Where it is to be read, if that is another place.
    pub from: Vec<Piece>,
    /// No other follows.
    pub last: bool,
}

/// What goes round between the threads.
pub trait Reuse {
    /// Empty again, memory kept.
    fn reuse(&mut self);
}

impl Reuse for Load {
    fn reuse(&mut self) {
        (self.len, self.last) = (0, false);
        self.pieces.clear();
        self.from.clear();
    }
}

impl Load {
    /// Empty, for `size` bytes.
    pub fn new(size: usize) -> Self {
        Self { buffer: Buffer::new(size), ..Self::default() }
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
        emptying.join().unwrap_or_else(|_| Err(defect()))?;
        done
    })
}

/// As `round`, and between the two `work` is done on each load, on several at a time. `empty` gets them in the order in which they were
/// filled, up to the first whose work failed.
pub fn spread<L: Reuse + Send, T>(
    loads: Vec<L>,
    workers: usize,
    fill: impl FnOnce(&Feed<L>) -> Result<T>,
    work: impl Fn(&mut L) -> Result<()> + Sync,
    mut empty: impl FnMut(&L) -> Result<()> + Send,
) -> Result<T> {
    let (give_back, free) = sync_channel(loads.len());
    let (full, filled) = sync_channel::<L>(loads.len());
    let (done, worked) = sync_channel::<(u64, Result<L>)>(loads.len());
    for load in loads {
        _ = give_back.send(load);
    }
    let intake = Mutex::new((filled, 0));
    thread::scope(|scope| {
        for done in std::iter::repeat_n(done, workers) {
            let (intake, work) = (&intake, &work);
            scope.spawn(move || {
                while let Some((number, mut load)) = next(intake) {
                    // a panic becomes an error: else the others would wait for this load for ever
                    let result = catch_unwind(AssertUnwindSafe(|| work(&mut load))).unwrap_or_else(|_| Err(defect()));
                    let result = result.map(|()| load);
                    if done.send((number, result)).is_err() {
                        break;
                    }
                }
            });
        }
        let emptying = scope.spawn(move || {
            let (mut waiting, mut turn) = (BTreeMap::new(), 0);
            for (number, load) in worked {
                waiting.insert(number, load);
                while let Some(load) = waiting.remove(&turn) {
                    let load = load?;
                    empty(&load)?;
                    _ = give_back.send(load);
                    turn += 1;
                }
            }
            Ok(())
        });
        let feed = Feed { free, full };
        let filled = fill(&feed);
        drop(feed);
        emptying.join().unwrap_or_else(|_| Err(defect()))?;
        filled
    })
}

/// The next filled load and its number; one worker at a time waits for it.
fn next<L>(intake: &Mutex<(Receiver<L>, u64)>) -> Option<(u64, L)> {
    let mut intake = intake.lock().ok()?;
    let load = intake.0.recv().ok()?;
    let number = intake.1;
    intake.1 += 1;
    Some((number, load))
}

fn defect() -> Error {
    Error::new("dds", "a defect of this program stopped it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads() -> Vec<Load> {
        (0..5).map(|_| Load::new(128)).collect()
    }

    fn thousand(feed: &Feed) -> Result<u8> {
        for n in 0..1000 {
            let mut load = feed.take()?;
            load.len = n;
            feed.send(load)?;
        }
        Ok(7)
    }

    #[test]
    fn many_work_and_the_order_stays() {
        let late = |l: &mut Load| {
            if l.len.is_multiple_of(3) {
                thread::yield_now();
            }
            l.buffer.fill((l.len % 251) as u8);
            Ok(())
        };
        let mut seen = Vec::new();
        let empty = |l: &Load| {
            seen.push((l.len, l.buffer[7]));
            Ok(())
        };
        assert_eq!(spread(loads(), 3, thousand, late, empty), Ok(7));
        assert!(seen.iter().copied().eq((0..1000).map(|n| (n, (n % 251) as u8))));
    }

    #[test]
    fn what_comes_after_a_failure_is_not_emptied() {
        let mut seen = 0;
        let fails = |l: &mut Load| if l.len == 500 { Err(Error::new("disk", "bad")) } else { Ok(()) };
        let count = |_: &Load| {
            seen += 1;
            Ok(())
        };
        let told = spread(loads(), 3, thousand, fails, count);
        assert_eq!((told.unwrap_err().to_string().as_str(), seen), ("disk: bad", 500));
        let full = spread(loads(), 3, thousand, |_| Ok(()), |l| if l.len == 9 { Err(Error::new("disk", "full")) } else { Ok(()) });
        assert_eq!(full.unwrap_err().to_string(), "disk: full");
        let dies = |l: &mut Load| if l.len == 9 { panic!("a defect") } else { Ok(()) };
        assert!(spread(loads(), 3, thousand, dies, |_| Ok(())).unwrap_err().to_string().contains("a defect of this program"));
        let torn = spread(loads(), 3, |feed| feed.take().and(Err::<(), _>(Error::new("tape", "torn"))), |_| Ok(()), |_| Ok(()));
        assert_eq!(torn.unwrap_err().to_string(), "tape: torn");
    }

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
        let note = |l: &Load| {
            seen.push(l.len);
            Ok(())
        };
        assert_eq!(round(loads(), fill, note), Ok(7));
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        let broken = round(loads(), fill, |l| if l.len == 9 { Err(Error::new("disk", "full")) } else { Ok(()) });
        assert_eq!(broken.unwrap_err().to_string(), "disk: full");
        let read = round(loads(), |feed: &Feed| feed.take().and(Err::<(), _>(Error::new("tape", "torn"))), |_| Ok(()));
        assert_eq!(read.unwrap_err().to_string(), "tape: torn");
    }
}
