//! Where bytes come from: a file, standard input or any reader, decompressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::OpenError;

/// Room for the reads of a whole batch of short documents.
const BUFFER_BYTES: usize = 256 << 10;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Bytes read so far, before they are decompressed.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A file or stream with its name.
pub struct Source {
    pub(crate) name: String,
    /// In lower case, without `.gz` or `.zst` behind it.
    pub(crate) extension: Option<String>,
    /// Whether more bytes can be long in coming, so that nothing may wait for a large sample.
    pub(crate) is_stream: bool,
    pub(crate) reader: Box<dyn BufRead + Send>,
    /// The file itself, where it is not compressed.
    pub(crate) file: Option<File>,
    is_compressed: bool,
    progress: Progress,
    length: Option<u64>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Source {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let name = path.display().to_string();
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => OpenError::Missing(name.clone()),
            _ => OpenError::Io { name: name.clone(), source },
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(OpenError::Folder(name));
        }
        let twin = if metadata.is_file() { Some(file.try_clone().map_err(failed)?) } else { None };
        let mut source = Self::new(Box::new(file), &name, !metadata.is_file())?;
        source.length = metadata.is_file().then_some(metadata.len());
        source.file = twin.filter(|_| !source.is_compressed);
        Ok(source)
    }

    /// Standard input.
    pub fn stdin() -> Result<Self, OpenError> {
        let mut source = Self::new(Box::new(io::stdin()), "standard input", true)?;
        source.extension = None;
        Ok(source)
    }

    /// Any bytes; the extension of `name` counts as that of a file does.
    ///
    /// # Panics
    ///
    /// Never: a reader that fails is reported when it is read.
    pub fn from_reader(reader: Box<dyn Read + Send>, name: &str) -> Self {
        Self::new(reader, name, false).unwrap_or_else(|error| Self {
            name: name.to_owned(),
            extension: None,
            is_stream: false,
            reader: Box::new(BufReader::new(Failing(Some(error)))),
            file: None,
            is_compressed: false,
            progress: Progress::default(),
            length: None,
        })
    }

    /// The name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Length of the file, compressed as it is.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// A counter of the bytes that are read from now on.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    fn new(reader: Box<dyn Read + Send>, name: &str, is_stream: bool) -> Result<Self, OpenError> {
        let progress = Progress::default();
        let counted = Counted { reader, progress: progress.clone() };
        let raw: Box<dyn BufRead + Send> = Box::new(BufReader::with_capacity(BUFFER_BYTES, counted));
        let failed = |source| OpenError::Io { name: name.to_owned(), source };
        let (head, raw) = peek(raw, ZSTD.len()).map_err(failed)?;
        let reader: Box<dyn BufRead + Send> = if head.starts_with(GZIP) {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, flate2::bufread::MultiGzDecoder::new(raw)))
        } else if head.starts_with(ZSTD) {
            let decoder = zstd::Decoder::with_buffer(raw).map_err(failed)?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        } else {
            raw
        };
        let is_compressed = head.starts_with(GZIP) || head.starts_with(ZSTD);
        Ok(Self {
            name: name.to_owned(),
            extension: extension(name),
            is_stream,
            reader,
            file: None,
            is_compressed,
            progress,
            length: None,
        })
    }

    /// Looks at the first bytes: at least `bytes` of a file, and what there is of a stream, but its first line at least.
    pub(crate) fn sample(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let reader = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        let (head, reader) = if self.is_stream { peek_line(reader, bytes)? } else { peek(reader, bytes)? };
        self.reader = reader;
        Ok(head)
    }

    /// The content as a file that can be read at any place: the file itself, or a copy in the folder for temporary files, of
    /// `max_bytes` at most.
    pub(crate) fn into_file(mut self, max_bytes: u64) -> io::Result<File> {
        if let Some(mut file) = self.file.take() {
            file.seek(SeekFrom::Start(0))?;
            return Ok(file);
        }
        let mut copy = tempfile::tempfile()?;
        let copied = io::copy(&mut self.reader.take(max_bytes + 1), &mut copy)?;
        if copied > max_bytes {
            return Err(io::Error::other(format!("it is larger than {} MiB", max_bytes >> 20)));
        }
        copy.seek(SeekFrom::Start(0))?;
        Ok(copy)
    }
}

/// The extension in lower case, without a `.gz` or `.zst` behind it.
fn extension(name: &str) -> Option<String> {
    let name = name.rsplit(['/', '\\']).next()?.to_lowercase();
    let name = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    name.rsplit_once('.').map(|(_, extension)| extension.to_owned())
}

/// A reader with its first bytes, which it gives again.
pub(crate) type Peeked = (Vec<u8>, Box<dyn BufRead + Send>);

/// Reads `bytes`, or all there are.
pub(crate) fn peek(mut reader: Box<dyn BufRead + Send>, bytes: usize) -> io::Result<Peeked> {
    let mut head = Vec::new();
    reader.by_ref().take(bytes as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Box::new(Cursor::new(head).chain(reader))))
}

/// Reads what there is, at most `bytes`, but waits for the end of the first line that is not blank.
pub(crate) fn peek_line(mut reader: Box<dyn BufRead + Send>, bytes: usize) -> io::Result<Peeked> {
    let mut head = Vec::new();
    loop {
        let part = reader.fill_buf()?;
        let length = part.len();
        if length == 0 {
            break;
        }
        head.extend_from_slice(part);
        reader.consume(length);
        if head.len() >= bytes || head.trim_ascii_start().contains(&b'\n') {
            break;
        }
    }
    Ok((head.clone(), Box::new(Cursor::new(head).chain(reader))))
}

/// Counts what is read.
struct Counted {
    reader: Box<dyn Read + Send>,
    progress: Progress,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.progress.0.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A reader that only gives an error.
struct Failing(Option<OpenError>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), |error| Err(io::Error::other(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_is_that_of_the_content() {
        for (name, expected) in
            [("a/b.c/R.CSV.gz", Some("csv")), ("x.tsv.zst", Some("tsv")), ("C:\\x", None), ("gz", None)]
        {
            assert_eq!(extension(name).as_deref(), expected, "{name}");
        }
    }
}
