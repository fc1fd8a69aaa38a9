//! Reads results and errors: in the order of the input, as far as they are done.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use sentor_store::StoreError;
use sentor_store::jobs::{ChunkRecord, JobId, JobStore};

use crate::objects::{ObjectError, Objects};

/// Rows of a job, as JSON Lines in pieces.
pub type RowStream = BoxStream<'static, Result<Bytes, ObjectError>>;

/// Bytes of the whole results.
pub type ByteRange = Range<u64>;

/// Chunks that are looked up at a time.
const CHUNKS_AT_A_TIME: usize = 1000;

/// Returns the size of the results of all rows that are available, in bytes. Blocks on the store.
///
/// # Errors
///
/// If the store fails.
pub fn result_bytes(store: &dyn JobStore, id: &JobId) -> Result<u64, StoreError> {
    let mut bytes = 0;
    for_each_chunk(store, id, 0, |chunk| bytes += chunk.outcome.result_bytes)?;
    Ok(bytes)
}

/// Streams the results after row number `after`, counted from 1. Blocks on the store first, not on objects.
///
/// # Errors
///
/// If the store fails.
pub fn stream_results(
    store: &dyn JobStore,
    objects: &Objects,
    id: &JobId,
    after: u64,
    range: Option<&ByteRange>,
) -> Result<RowStream, StoreError> {
    let mut parts: Vec<(String, Range<u64>)> = Vec::new();
    let mut start = 0;
    for_each_chunk(store, id, after, |chunk| {
        let end = start + chunk.outcome.result_bytes;
        let wanted = range.cloned().unwrap_or(0..u64::MAX);
        let (from, to) = (wanted.start.clamp(start, end), wanted.end.clamp(start, end));
        if let (Some(object), true) = (&chunk.outcome.result_object, from < to) {
            parts.push((object.clone(), from - start..to - start));
        }
        start = end;
    })?;
    let (objects, id) = (objects.clone(), id.clone());
    let mut is_first = true;
    let pieces = stream::iter(parts).then(move |(object, range)| {
        let (objects, id) = (objects.clone(), id.clone());
        let skip_rows = std::mem::take(&mut is_first) && after > 0;
        async move {
            let content = Bytes::from(objects.get(&id, &object).await?);
            let content = if skip_rows { skip(&content, after) } else { content };
            let length = content.len() as u64;
            let [from, to] = [range.start.min(length), range.end.min(length)];
            let [from, to] = [from, to].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
            Ok(content.slice(from..to))
        }
    });
    Ok(pieces.boxed())
}

/// Streams the error file. Blocks on the store first, not on objects.
///
/// # Errors
///
/// If the store fails.
pub fn stream_errors(store: &dyn JobStore, objects: &Objects, id: &JobId) -> Result<RowStream, StoreError> {
    let mut names = Vec::new();
    for_each_chunk(store, id, 0, |chunk| names.extend(chunk.outcome.error_object))?;
    let (objects, id) = (objects.clone(), id.clone());
    let pieces = stream::iter(names).then(move |name| {
        let (objects, id) = (objects.clone(), id.clone());
        async move { Ok(Bytes::from(objects.get(&id, &name).await?)) }
    });
    Ok(pieces.boxed())
}

/// Leaves out the lines of rows up to number `after`.
fn skip(content: &Bytes, after: u64) -> Bytes {
    let mut from = 0;
    while row_number(&content[from..]).is_some_and(|row| row <= after) {
        let end = content[from..].iter().position(|byte| *byte == b'\n');
        from += end.map_or(content.len() - from, |end| end + 1);
    }
    content.slice(from..)
}

/// The number that a line of results begins with.
fn row_number(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"{\"row\":")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

fn for_each_chunk(
    store: &dyn JobStore,
    id: &JobId,
    after: u64,
    mut see: impl FnMut(ChunkRecord),
) -> Result<(), StoreError> {
    let mut from = after;
    loop {
        let chunks = store.done_chunks(id, from, CHUNKS_AT_A_TIME)?;
        let Some(last) = chunks.last() else { return Ok(()) };
        from = last.first_row + last.rows;
        chunks.into_iter().for_each(&mut see);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_skipped_by_their_numbers_even_where_some_failed() {
        let content =
            Bytes::from_static(b"{\"row\":11,\"a\":1}\n{\"row\":13,\"a\":2}\n{\"row\":14,\"a\":3}\n");
        for (after, expected) in [(0, 11), (10, 11), (11, 13), (12, 13), (13, 14)] {
            assert_eq!(row_number(&skip(&content, after)), Some(expected), "after {after}");
        }
        assert!(skip(&content, 14).is_empty());
    }
}
