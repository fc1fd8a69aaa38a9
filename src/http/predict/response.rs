//! The answer to a predict request.

use serde::Serialize;
use utoipa::ToSchema;

use super::request::PredictRequest;
use crate::http::error::{ApiError, ErrorSummary};
use crate::http::query::PredictQuery;
use sentor_analysis::results::{DocumentResult, document_result, document_result_bytes};
use sentor_analysis::{DocumentAnalysis, DocumentError};

/// Writes the answer: one result for each document of `request`. `outcomes` are those of its valid documents, and
/// `expected_bytes` is what [`expected_bytes`] returns for them.
///
/// # Errors
///
/// Without `partial`, the first document that could not be scored.
pub(super) fn write(
    request: &PredictRequest,
    outcomes: &[Result<DocumentAnalysis, DocumentError>],
    query: PredictQuery,
    expected_bytes: usize,
) -> Result<Vec<u8>, ApiError> {
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

/// Estimates the bytes of the answer. It is an upper bound if no document failed.
pub(super) fn expected_bytes(
    request: &PredictRequest,
    outcomes: &[Result<DocumentAnalysis, DocumentError>],
) -> usize {
    /// Bytes of the error of a document.
    const ERROR: usize = 640;
    let mut outcomes = outcomes.iter();
    let documents = request.documents.iter().map(|document| {
        let doc_id = document.doc_id.as_deref();
        let Ok(text) = &document.text else { return ERROR };
        match outcomes.next() {
            Some(Ok(analysis)) => document_result_bytes(doc_id, text, analysis),
            _ => ERROR,
        }
    });
    documents.sum()
}

/// The scores of all documents.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PredictResponse<'a> {
    /// One for each document of the request, in its order.
    results: Vec<Outcome<'a>>,
}

/// The outcome of a document.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Outcome<'a> {
    Scored(DocumentResult<'a>),
    /// Only with `partial=true`: this document could not be scored.
    Failed {
        /// As sent; null if it was not a string.
        doc_id: Option<&'a str>,
        error: ErrorSummary<'a>,
    },
}
