//! The file of values: one slot a vector, little endian f32, nothing else.
//!
//! Which slot holds which vector is in the database, and a slot is written only while the database says it is free. A
//! write that a crash cuts short is then nobody's.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes read at a time while an index is loaded.
const READ: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct ValuesFile {
    file: File,
    dimensions: usize,
}

impl ValuesFile {
    /// Opens the file, which is created when it does not exist.
    pub(crate) fn open(path: &Path, dimensions: usize) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        Ok(Self { file, dimensions })
    }

    /// Writes vectors into their slots and waits until they are on disk.
    pub(crate) fn write<'a>(&self, vectors: impl Iterator<Item = (usize, &'a [f32])>) -> io::Result<()> {
        // Neighbours go in one write.
        let (mut run, mut start, mut next) = (Vec::new(), 0, 0);
        for (slot, values) in vectors {
            if slot != next && !run.is_empty() {
                self.write_at(start, &run)?;
                run.clear();
            }
            if run.is_empty() {
                start = slot;
            }
            next = slot + 1;
            run.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        if run.is_empty() {
            return Ok(());
        }
        self.write_at(start, &run)?;
        self.file.sync_data()
    }

    fn write_at(&self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, (slot * self.dimensions * 4) as u64)
    }

    /// Reads the slots from the first on, one after the other.
    pub(crate) fn read(&self) -> Slots<'_> {
        Slots {
            // An unread file is at its start.
            reader: BufReader::with_capacity(READ, &self.file),
            bytes: vec![0; self.dimensions * 4],
        }
    }
}

/// A reader of slots in their order.
pub(crate) struct Slots<'a> {
    reader: BufReader<&'a File>,
    bytes: Vec<u8>,
}

impl Slots<'_> {
    /// The next slot's values. An error when the file ends first.
    pub(crate) fn next(&mut self, values: &mut Vec<f32>) -> io::Result<()> {
        self.reader.read_exact(&mut self.bytes)?;
        values.clear();
        let (numbers, _) = self.bytes.as_chunks::<4>();
        values.extend(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        Ok(())
    }

    /// Passes over slots.
    pub(crate) fn skip(&mut self, slots: usize) -> io::Result<()> {
        let bytes = i64::try_from(slots * self.bytes.len()).map_err(io::Error::other)?;
        self.reader.seek_relative(bytes)
    }
}
