//! Gathers entries into batches: full ones from fast input, small ones without delay from slow input.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use crate::cli::flow::{BATCH_BYTES, BATCH_DOCUMENTS, Batch};
use sentor_analysis::MentionSource;
use sentor_text::language::LanguageChoice;

use super::input::Entry;

/// Time that a batch waits for one more document. Reading a file is far faster; a typed document is not delayed noticeably.
const LINGER: Duration = Duration::from_millis(20);

/// Reads `entries` on a thread and gathers them.
pub(super) fn gather_batches(
    entries: impl Iterator<Item = Entry> + Send + 'static,
    language: LanguageChoice,
    mentions: MentionSource,
) -> impl Iterator<Item = Batch<Vec<Entry>>> + Send {
    let (sender, receiver) = sync_channel(BATCH_DOCUMENTS);
    thread::spawn(move || {
        for entry in entries {
            let is_last = matches!(entry, Entry::Broken(_));
            if sender.send(entry).is_err() || is_last {
                return;
            }
        }
    });
    std::iter::from_fn(move || {
        let payload = gather(&receiver)?;
        let documents = payload
            .iter()
            .filter_map(|entry| match entry {
                Entry::Record(record) => Some(record.document(mentions.clone())),
                _ => None,
            })
            .collect();
        Some(Batch { documents, language, payload })
    })
}

/// The entries of one batch; `None` at the end of the input.
fn gather(receiver: &Receiver<Entry>) -> Option<Vec<Entry>> {
    let mut entries = vec![receiver.recv().ok()?];
    let mut bytes = size(&entries[0]);
    while bytes < BATCH_BYTES && entries.len() < BATCH_DOCUMENTS {
        let Ok(entry) = receiver.recv_timeout(LINGER) else { break };
        bytes += size(&entry);
        entries.push(entry);
    }
    Some(entries)
}

fn size(entry: &Entry) -> usize {
    if let Entry::Record(record) = entry { record.text.len() } else { 0 }
}
