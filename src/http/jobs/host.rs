//! What the runner of jobs gets from the server.

use std::sync::Arc;

use crate::http::app::{App, BoxFuture};
use crate::telemetry::ScoredDocument;
use sentor_analysis::{AnalysisError, Document, DocumentAnalysis, DocumentError, Options};
use sentor_jobs::Host;
use sentor_store::keys::KeyId;
use sentor_store::metering::{Limit, LimitError, Usage};

/// Scores the rows of jobs with the server's models, and counts them.
pub struct JobHost(pub Arc<App>);

impl Host for JobHost {
    fn is_ready(&self) -> bool {
        self.0.analyzer().is_some()
    }

    fn score(
        &self,
        documents: Vec<Document>,
        options: Options,
    ) -> BoxFuture<'_, Result<Vec<Result<DocumentAnalysis, DocumentError>>, AnalysisError>> {
        Box::pin(async move {
            let Some(analyzer) = self.0.analyzer() else { return Err(AnalysisError::ShuttingDown) };
            let answers = analyzer.analyze(documents, options).await?;
            for analysis in answers.iter().flatten() {
                self.0.metrics.record_scored_document(ScoredDocument {
                    language: analysis.language,
                    entities: analysis.entities.len(),
                    tokens: analysis.tokens,
                });
            }
            Ok(answers)
        })
    }

    fn max_rows(&self, plan: &str) -> Option<u64> {
        self.0.services.meter.plans().find(plan)?.limit(Limit::RowsPerJob)
    }

    fn charge(&self, account: &KeyId, plan: &str, rows: u64) -> Result<(), String> {
        let charged = self.0.services.meter.charge_documents(account, plan, rows);
        charged.map_err(|error| match error {
            LimitError::Quota(quota, status) => format!(
                "quota exceeded: the plan {plan} allows {} documents a {}, and {} are used",
                status.limit.unwrap_or_default(),
                quota.name(),
                status.used
            ),
            _ => format!("the plan {plan} is not set up on this server"),
        })
    }

    fn refund(&self, account: &KeyId, rows: u64) {
        self.0.services.meter.refund_documents(account, rows);
    }

    fn add_usage(&self, account: &KeyId, usage: Usage) {
        self.0.services.meter.add_usage(account, usage);
    }
}
