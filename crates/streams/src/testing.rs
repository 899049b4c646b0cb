//! Record batches for tests, here and in other crates.

use bytes::{BufMut, Bytes, BytesMut};

/// Builds a record batch as a producer sends it.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    timestamps: Vec<i64>,
    value: Vec<u8>,
    producer: (i64, i16, i32),
    attributes: i16,
    max_timestamp: Option<i64>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self {
            timestamps: vec![1_000],
            value: b"value".to_vec(),
            producer: (-1, -1, -1),
            attributes: 0,
            max_timestamp: None,
        }
    }
}

impl BatchBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// One record for each.
    pub fn timestamps(mut self, timestamps: &[i64]) -> Self {
        timestamps.clone_into(&mut self.timestamps);
        self
    }

    /// So many records.
    pub fn records(mut self, count: usize) -> Self {
        self.timestamps = vec![1_000; count];
        self
    }

    /// The value of every record.
    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.value = value.into();
        self
    }

    /// Producer id, epoch and the sequence number of the first record.
    pub fn producer(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = (id, epoch, sequence);
        self
    }

    pub fn attributes(mut self, attributes: i16) -> Self {
        self.attributes = attributes;
        self
    }

    /// What the header says instead of the largest timestamp.
    pub fn max_timestamp(mut self, timestamp: i64) -> Self {
        self.max_timestamp = Some(timestamp);
        self
    }

    pub fn build(&self) -> Bytes {
        let base = self.timestamps[0];
        let mut out = BytesMut::new();
        out.put_slice(&[0; 21]);
        out.put_i16(self.attributes);
        out.put_i32(self.timestamps.len() as i32 - 1);
        out.put_i64(base);
        let largest = self.timestamps.iter().copied().max().expect("a batch has records");
        out.put_i64(self.max_timestamp.unwrap_or(largest));
        out.put_i64(self.producer.0);
        out.put_i16(self.producer.1);
        out.put_i32(self.producer.2);
        out.put_i32(self.timestamps.len() as i32);
        for (delta, timestamp) in self.timestamps.iter().enumerate() {
            let mut record = BytesMut::new();
            record.put_u8(0);
            put_varint(&mut record, timestamp - base);
            put_varint(&mut record, delta as i64);
            put_varint(&mut record, -1);
            put_varint(&mut record, self.value.len() as i64);
            record.put_slice(&self.value);
            put_varint(&mut record, 0);
            put_varint(&mut out, record.len() as i64);
            out.put_slice(&record);
        }
        let length = out.len() as i32 - 12;
        out[8..12].copy_from_slice(&length.to_be_bytes());
        out[16] = 2;
        let crc = crc32c::crc32c(&out[21..]);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
        out.freeze()
    }
}

fn put_varint(out: &mut BytesMut, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}
