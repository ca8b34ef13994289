//! Memory at an address that direct I/O accepts, and which part of it lies where on a device.

use std::ops::{Deref, DerefMut};

/// The alignment direct I/O is given: the largest logical block size there is.
pub const ALIGN: usize = 4096;

/// Zeroed memory of a fixed size, aligned to [`ALIGN`]. Made a page longer than asked for, and begun at the boundary: no `unsafe`.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    size: usize,
}

impl Buffer {
    /// `size` bytes, all zero.
    pub fn new(size: usize) -> Self {
        let bytes = vec![0; size.saturating_add(ALIGN)];
        let start = bytes.as_ptr().align_offset(ALIGN).min(ALIGN); // the heap does not move when the Vec does
        Self { bytes, start, size }
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.size).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + self.size).unwrap_or_default()
    }
}

/// `len` bytes of a buffer, from `at` on, are those of a device from `offset` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Byte of the device.
    pub offset: u64,
    /// Byte of the buffer.
    pub at: usize,
    /// Bytes.
    pub len: usize,
}

/// Adds a piece; one that goes on where the last ends, in both, makes that longer. Pieces must come in the order of `at`.
pub fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    match pieces.last_mut() {
        Some(last) if last.offset.checked_add(last.len as u64) == Some(piece.offset) && last.at + last.len == piece.at => {
            last.len += piece.len;
        }
        _ => pieces.push(piece),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_wherever_it_moves() {
        for size in [1, 512, 4096, 1 << 20] {
            let boxed = Box::new(Buffer::new(size));
            assert_eq!(boxed.as_ptr() as usize % ALIGN, 0);
            let moved = *boxed;
            assert_eq!((moved.as_ptr() as usize % ALIGN, moved.len()), (0, size));
        }
    }

    #[test]
    fn neighbours_on_both_sides_become_one_piece() {
        let mut pieces = Vec::new();
        push(&mut pieces, Piece { offset: 0, at: 0, len: 10 });
        push(&mut pieces, Piece { offset: 10, at: 10, len: 5 });
        push(&mut pieces, Piece { offset: 15, at: 16, len: 5 });
        push(&mut pieces, Piece { offset: 21, at: 21, len: 5 });
        assert_eq!(pieces.iter().map(|p| p.len).collect::<Vec<_>>(), [15, 5, 5]);
    }
}
