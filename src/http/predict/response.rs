//! The answer to a predict request.

use serde::Serialize;
use utoipa::ToSchema;

use super::request::PredictRequest;
use crate::http::error::{ApiError, ErrorSummary};
use crate::http::query::PredictQuery;
use sentor_analysis::results::{DocumentResult, document_result};
use sentor_analysis::{DocumentAnalysis, DocumentError};

/// Writes the answer: one result for each document of `request`. `outcomes` are those of its valid documents.
///
/// # Errors
///
/// Without `partial`, the first document that could not be scored.
pub(super) fn write(
    request: &PredictRequest,
    outcomes: &[Result<DocumentAnalysis, DocumentError>],
    query: PredictQuery,
) -> Result<Vec<u8>, ApiError> {
    let expected_bytes = expected_bytes(request, outcomes);
    let mut outcomes = outcomes.iter();
    // Errors are made before the results that borrow them.
    let mut judged = Vec::with_capacity(request.documents.len());
    for (index, document) in request.documents.iter().enumerate() {
        let judgement = match &document.text {
            Err(error) => Err(error.clone()),
            Ok(text) => match outcomes.next() {
                Some(Ok(analysis)) => Ok((text, analysis)),
                Some(Err(error)) => Err(ApiError::from_document(error, index)),
                None => Err(ApiError::server()),
            },
        };
        match judgement {
            Err(error) if !query.partial => return Err(error),
            judgement => judged.push((document.doc_id.as_deref(), judgement)),
        }
    }
    let results = judged
        .iter()
        .map(|(doc_id, judgement)| match judgement {
            Ok((text, analysis)) => Outcome::Scored(document_result(*doc_id, text, analysis, query.offsets)),
            Err(error) => Outcome::Failed { doc_id: *doc_id, error: error.summary() },
        })
        .collect();
    let mut json = Vec::with_capacity(expected_bytes);
    serde_json::to_writer(&mut json, &PredictResponse { results }).map_err(|error| {
        tracing::error!(%error, "cannot write an answer");
        ApiError::server()
    })?;
    Ok(json)
}

/// About how many bytes the answer has. Texts with many characters that JSON escapes come to more.
pub(super) fn expected_bytes(
    request: &PredictRequest,
    outcomes: &[Result<DocumentAnalysis, DocumentError>],
) -> usize {
    // Bytes of JSON besides texts, rounded up from real answers; a document's include some warnings.
    const DOCUMENT: usize = 640;
    const SENTENCE: usize = 260;
    const ENTITY: usize = 320;
    const MENTION: usize = 260;
    let documents = request.documents.iter().map(|document| {
        let texts =
            document.text.as_ref().map_or(0, String::len) + document.doc_id.as_ref().map_or(0, String::len);
        DOCUMENT + texts
    });
    let analyses = outcomes.iter().flatten().map(|analysis| {
        let entities = analysis.entities.iter().map(|entity| {
            // A mention's text is about as long as the entity's name.
            ENTITY + entity.entity.len() + entity.mentions.len() * (MENTION + entity.entity.len())
        });
        analysis.sentences.len() * SENTENCE + entities.sum::<usize>()
    });
    documents.sum::<usize>() + analyses.sum::<usize>()
}

/// The scores of all documents.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PredictResponse<'a> {
    /// One for each document of the request, in its order.
    results: Vec<Outcome<'a>>,
}

/// What became of one document.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Outcome<'a> {
    Scored(DocumentResult<'a>),
    /// Only with `partial=true`: this document could not be scored.
    Failed {
        /// As sent; null where that was no string.
        doc_id: Option<&'a str>,
        error: ErrorSummary<'a>,
    },
}
