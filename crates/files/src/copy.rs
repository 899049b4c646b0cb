//! Copying within the volume, without a way through the client.

use crate::limits::COPY_BYTES_MAX;
use crate::{Error, Files, Result};
use ballast_types::{Call, Ino};

/// Bytes read and written in one step.
const STEP: u64 = 1 << 20;

impl Files {
    /// copy_file_range: copies up to `length` bytes; how many. The target is as dirty as after a write.
    pub async fn copy_range(
        &self,
        call: &Call,
        (from, from_offset): (Ino, u64),
        (to, to_offset): (Ino, u64),
        length: u64,
    ) -> Result<u64> {
        if from == to && from_offset.abs_diff(to_offset) < length {
            return Err(Error::Invalid("the ranges to copy between overlap".into()));
        }
        let length = length.min(COPY_BYTES_MAX);
        let mut copied = 0;
        while copied < length {
            let parts = self.read(from, from_offset + copied, STEP.min(length - copied)).await?;
            if parts.is_empty() {
                break;
            }
            for part in parts {
                let bytes = part.len() as u64;
                self.write(call, to, to_offset + copied, part).await?;
                copied += bytes;
            }
        }
        Ok(copied)
    }
}
