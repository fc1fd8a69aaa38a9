//! Cuts the input of a job into chunks.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use sentor_store::jobs::{JobId, JobRecord};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::objects::{ObjectError, Objects};
use crate::rows::{Content, InputRow, read_rows};
use crate::spec::JobSpec;

/// Bytes of text in a chunk: about a second of work, at the 880 to 1,260 documents of some 100 bytes that two cores were
/// measured to score in a second.
const CHUNK_TEXT_BYTES: usize = 96 << 10;

/// Most rows in a chunk.
const CHUNK_ROWS: usize = 1000;

/// Most bytes of text in the first chunks, so that the first results are there at once.
const FIRST_CHUNK_TEXT_BYTES: usize = 8 << 10;

/// Rows of a job that are cut into short chunks.
const FIRST_ROWS: u64 = 500;

/// The next chunk of an input.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Its rows, as lines of the object for them.
    pub(crate) object: Vec<u8>,
    pub(crate) rows: u64,
    /// Bytes of the upload that are read after it.
    pub(crate) split_bytes: u64,
}

/// Reads the input of a job on a thread that may block, from where it was cut to before. The sender hangs up at the end; an
/// input that cannot be read any further ends with a message.
pub(crate) async fn pieces(
    objects: &Objects,
    job: &JobRecord,
    spec: &JobSpec,
) -> Result<mpsc::Receiver<Result<Piece, String>>, ObjectError> {
    let (stream, spec, known_rows) = (objects.read_upload(&job.id).await?, spec.clone(), job.rows);
    let (sender, receiver) = mpsc::channel(1);
    let read = Arc::new(AtomicU64::new(0));
    let reader = Uploaded { stream, piece: Bytes::new(), read: Arc::clone(&read), handle: Handle::current() };
    tokio::task::spawn_blocking(move || {
        let rows = read_rows(Box::new(reader), &spec);
        cut(rows, known_rows, &read, |piece| sender.blocking_send(piece).is_ok());
    });
    Ok(receiver)
}

/// Cuts rows into pieces, after the first `known_rows`. Ends when `send` returns `false`.
fn cut(
    rows: impl Iterator<Item = io::Result<InputRow>>,
    known_rows: u64,
    read: &AtomicU64,
    mut send: impl FnMut(Result<Piece, String>) -> bool,
) {
    let mut cut_rows = known_rows;
    let mut piece = Piece { object: Vec::new(), rows: 0, split_bytes: 0 };
    let mut text_bytes = 0;
    for row in rows.skip(usize::try_from(known_rows).unwrap_or(usize::MAX)) {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                send(Err(error.to_string()));
                return;
            }
        };
        if let Content::Document { text, .. } = &row.content {
            text_bytes += text.len();
        }
        // A row holds texts and numbers, which always serialise.
        let _ = serde_json::to_writer(&mut piece.object, &row);
        piece.object.push(b'\n');
        piece.rows += 1;
        let most = if cut_rows < FIRST_ROWS { FIRST_CHUNK_TEXT_BYTES } else { CHUNK_TEXT_BYTES };
        if text_bytes >= most || piece.rows >= CHUNK_ROWS as u64 {
            cut_rows += piece.rows;
            piece.split_bytes = read.load(Ordering::Relaxed);
            let full = std::mem::replace(&mut piece, Piece { object: Vec::new(), rows: 0, split_bytes: 0 });
            text_bytes = 0;
            if !send(Ok(full)) {
                return;
            }
        }
    }
    if piece.rows > 0 {
        piece.split_bytes = read.load(Ordering::Relaxed);
        send(Ok(piece));
    }
}

/// Name of the object with the rows of a chunk from `first_row` on.
pub(crate) fn input_object(first_row: u64) -> String {
    format!("input/{first_row:012}.jsonl.zst")
}

/// The rows of a chunk: `rows` from `first_row` on, out of the object that begins at `input_row`.
pub(crate) async fn chunk_rows(
    objects: &Objects,
    job: &JobId,
    input_row: u64,
    first_row: u64,
    rows: u64,
) -> Result<Vec<InputRow>, ObjectError> {
    let name = input_object(input_row);
    let content = objects.get(job, &name).await?;
    let [skip, rows] = [first_row - input_row, rows].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let lines = content.split(|byte| *byte == b'\n').skip(skip).take(rows);
    lines.map(|line| serde_json::from_slice(line).map_err(|_| ObjectError::Damaged(name.clone()))).collect()
}

/// A stream of bytes, for code that blocks.
struct Uploaded {
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    piece: Bytes,
    read: Arc<AtomicU64>,
    handle: Handle,
}

impl Read for Uploaded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.handle.block_on(self.stream.next()) {
                None => return Ok(0),
                Some(piece) => self.piece = piece.map_err(io::Error::other)?,
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_all(rows: u64, known: u64) -> Vec<(u64, Vec<u64>)> {
        let row = |line| {
            let content = Content::Document { text: "a text".repeat(40), entities: Vec::new() };
            Ok(InputRow { line, doc_id: None, content })
        };
        let mut pieces = Vec::new();
        cut((1..=rows).map(row), known, &AtomicU64::new(7), |piece| {
            let piece = piece.expect("every row can be read");
            let lines = piece.object.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let lines = lines.map(|line| serde_json::from_slice::<InputRow>(line).expect("a row").line);
            pieces.push((piece.rows, lines.collect()));
            true
        });
        pieces
    }

    #[test]
    fn every_row_is_in_one_piece_and_the_first_pieces_are_short() {
        let pieces = cut_all(3000, 0);
        let lines: Vec<u64> = pieces.iter().flat_map(|(_, lines)| lines.clone()).collect();
        assert!(lines.into_iter().eq(1..=3000));
        assert!(pieces.iter().all(|(rows, lines)| *rows == lines.len() as u64));
        assert!(pieces[0].0 < 50 && pieces.iter().all(|(rows, _)| *rows <= 1000), "{}", pieces[0].0);
    }

    #[test]
    fn cutting_goes_on_after_the_rows_that_are_cut_already() {
        let whole = cut_all(2000, 0);
        for known in [0, whole[0].0, 1999, 2000] {
            let lines = cut_all(2000, known).into_iter().flat_map(|(_, lines)| lines);
            assert!(lines.eq(known + 1..=2000), "after {known}");
        }
    }
}
