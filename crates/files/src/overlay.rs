//! Changes to a file's bytes that are not committed yet: exact extents of new bytes or zeros.
//!
//! Extents never overlap. An extent of zeros also hides what lies below a file's end after a truncate.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Clone, Debug)]
struct Extent {
    length: u64,
    /// `None`: zeros.
    data: Option<Data>,
}

#[derive(Clone, Debug)]
struct Data {
    bytes: Bytes,
    /// Bytes of the buffer that `bytes` is a slice of and keeps in memory.
    backing: usize,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay {
    extents: BTreeMap<u64, Extent>,
    bytes: usize,
}

/// A part of a range: what an overlay says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    Data(Bytes),
    Zeros,
    /// Nothing: what lies below shows.
    Gap,
}

impl Extent {
    fn slice(&self, from: u64, to: u64) -> Self {
        let data = self.data.as_ref().map(|data| {
            let part = data.bytes.slice(narrow(from)..narrow(to));
            // A small rest of a large buffer is copied, so that it does not keep the buffer in memory.
            if part.len() < data.backing / 4 {
                Data { backing: part.len(), bytes: Bytes::copy_from_slice(&part) }
            } else {
                Data { backing: data.backing, bytes: part }
            }
        });
        Self { length: to - from, data }
    }

    fn len_in_memory(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.bytes.len())
    }
}

/// Offsets within data in memory fit `usize`.
fn narrow(offset: u64) -> usize {
    usize::try_from(offset).expect("data in memory is smaller than the address space")
}

impl Overlay {
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// Bytes of data in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn extents(&self) -> usize {
        self.extents.len()
    }

    pub fn put(&mut self, offset: u64, bytes: Bytes) {
        if !bytes.is_empty() {
            let (length, backing) = (bytes.len() as u64, bytes.len());
            self.insert(offset, Extent { length, data: Some(Data { bytes, backing }) });
        }
    }

    pub fn zero(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.insert(range.start, Extent { length: range.end - range.start, data: None });
        }
    }

    /// Lays `newer` over this one.
    pub fn lay_over(&mut self, newer: Self) {
        for (offset, extent) in newer.extents {
            self.insert(offset, extent);
        }
    }

    fn insert(&mut self, offset: u64, extent: Extent) {
        self.remove(offset..offset + extent.length);
        self.bytes += extent.len_in_memory();
        self.extents.insert(offset, extent);
    }

    /// Forgets what is said of the range.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.extents.range(..range.start).next_back();
        let reaches_in = first.filter(|(start, extent)| *start + extent.length > range.start).map(|(start, _)| *start);
        let inside = self.extents.range(range.clone()).map(|(start, _)| *start);
        let touched: smallvec::SmallVec<[u64; 4]> = reaches_in.into_iter().chain(inside).collect();
        for start in touched {
            let Some(extent) = self.extents.remove(&start) else { continue };
            self.bytes -= extent.len_in_memory();
            let end = start + extent.length;
            if start < range.start {
                self.keep(start, extent.slice(0, range.start - start));
            }
            if end > range.end {
                self.keep(range.end, extent.slice(range.end - start, extent.length));
            }
        }
    }

    fn keep(&mut self, offset: u64, extent: Extent) {
        self.bytes += extent.len_in_memory();
        self.extents.insert(offset, extent);
    }

    /// What is said of the range, in order and without a hole: the covers' lengths add up to it.
    pub fn covers(&self, range: Range<u64>) -> Vec<(Range<u64>, Cover)> {
        let mut covers = Vec::new();
        let mut at = range.start;
        let first = self.extents.range(..range.start).next_back();
        let reaches_in = first.filter(|(start, extent)| *start + extent.length > range.start);
        for (start, extent) in reaches_in.into_iter().chain(self.extents.range(range.clone())) {
            let (from, to) = ((*start).max(range.start), (start + extent.length).min(range.end));
            if at < from {
                covers.push((at..from, Cover::Gap));
            }
            let cover = extent
                .data
                .as_ref()
                .map_or(Cover::Zeros, |data| Cover::Data(data.bytes.slice(narrow(from - start)..narrow(to - start))));
            covers.push((from..to, cover));
            at = to;
        }
        if at < range.end {
            covers.push((at..range.end, Cover::Gap));
        }
        covers
    }

    /// The extents in order: their range and whether they are data.
    pub fn iter(&self) -> impl Iterator<Item = (Range<u64>, bool)> + '_ {
        self.extents.iter().map(|(start, extent)| (*start..start + extent.length, extent.data.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u64, Vec<u8>),
        Zero(u64, u64),
        Remove(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u64..60, prop::collection::vec(1u8.., 1..30)).prop_map(|(at, bytes)| Step::Put(at, bytes)),
            (0u64..60, 1u64..30).prop_map(|(at, length)| Step::Zero(at, length)),
            (0u64..60, 1u64..30).prop_map(|(at, length)| Step::Remove(at, length)),
        ]
    }

    proptest! {
        #[test]
        fn an_overlay_behaves_like_an_array(steps in prop::collection::vec(step(), 1..30), from in 0u64..50, length in 1u64..50) {
            let mut overlay = Overlay::default();
            let mut model = [None; 128];
            for step in steps {
                match step {
                    Step::Put(at, bytes) => {
                        bytes.iter().enumerate().for_each(|(i, byte)| model[at as usize + i] = Some(*byte));
                        overlay.put(at, Bytes::from(bytes));
                    }
                    Step::Zero(at, length) => {
                        model[at as usize..(at + length) as usize].fill(Some(0));
                        overlay.zero(at..at + length);
                    }
                    Step::Remove(at, length) => {
                        model[at as usize..(at + length) as usize].fill(None);
                        overlay.remove(at..at + length);
                    }
                }
            }
            let mut seen = Vec::new();
            for (range, cover) in overlay.covers(from..from + length) {
                prop_assert_eq!(range.start, from + seen.len() as u64);
                let count = (range.end - range.start) as usize;
                match cover {
                    Cover::Data(bytes) => seen.extend(bytes.iter().map(|byte| Some(*byte))),
                    Cover::Zeros => seen.extend(std::iter::repeat_n(Some(0), count)),
                    Cover::Gap => seen.extend(std::iter::repeat_n(None, count)),
                }
            }
            prop_assert_eq!(&seen[..], &model[from as usize..(from + length) as usize]);
            prop_assert_eq!(overlay.bytes(), model.iter().filter(|byte| byte.is_some_and(|byte| byte != 0)).count());
        }
    }

    #[test]
    fn a_small_rest_does_not_keep_a_large_buffer() {
        let mut overlay = Overlay::default();
        overlay.put(0, Bytes::from(vec![1; 1 << 20]));
        overlay.zero(1..1 << 20);
        let backing = overlay.extents.get(&0).and_then(|extent| extent.data.as_ref()).map(|data| data.backing);
        assert_eq!((overlay.bytes(), backing), (1, Some(1)));
    }
}
