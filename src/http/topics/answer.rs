//! The answers of requests for topics.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::request::ClusterRequest;
use crate::http::error::ApiError;
use crate::topics::Grouped;
use sentor_text::language::Language;
use sentor_topics::Member;

/// The clusters of a request.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ClusterAnswer {
    clusters: Vec<ClusterItem>,
    total_documents: usize,
    /// Without the outliers.
    total_clusters: usize,
    outliers_count: usize,
    /// The same as `outliers_count`: clients read either.
    outliers: usize,
    clustering_method: &'static str,
    /// What the documents were read as.
    language: &'static str,
    min_clusters: usize,
    /// Numbers of clusters with the best scores, best first; empty where the request gave the number.
    alternatives: Vec<AlternativeItem>,
    warnings: Vec<String>,
}

/// A cluster, or with the number -1 the outliers.
#[derive(Debug, Serialize, ToSchema)]
struct ClusterItem {
    cluster_id: i64,
    document_count: usize,
    /// The most typical first.
    documents: Vec<DocumentItem>,
    /// Words and phrases that tell the cluster from the others.
    top_words: Vec<String>,
    /// Of its documents, the most frequent first.
    entities: Vec<String>,
    /// Mean polarity of its documents, -1 to 1; with `sentiment=true` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    sentiment: Option<f64>,
}

/// A document of a cluster.
#[derive(Debug, Serialize, ToSchema)]
struct DocumentItem {
    /// As sent.
    #[schema(value_type = Option<String>)]
    doc_id: Value,
    text: String,
    /// As sent, without blank ones.
    entities: Vec<String>,
    /// How sure it is that the document belongs here rather than in another cluster, 0 to 1.
    cluster_probability: f64,
    /// Place on the map, -1 to 1; with `map=true` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<f64>,
    /// Place on the map, -1 to 1; with `map=true` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<f64>,
}

/// A number of clusters that was considered.
#[derive(Debug, Serialize, ToSchema)]
struct AlternativeItem {
    clusters: usize,
    score: f64,
}

/// The name of a cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct NameAnswer {
    pub(super) cluster_id: i64,
    pub(super) topic_name: String,
    pub(super) document_count: usize,
    /// `LLM`, or `Fallback` where no language model named the topic.
    pub(super) generation_method: &'static str,
}

/// Numbers of clusters that an answer lists.
const ALTERNATIVES: usize = 5;

impl ClusterAnswer {
    /// Clusters the documents of a request, of which `polarities` has the sentiment where that was asked for.
    pub(super) fn of(
        request: &ClusterRequest,
        vectors: &[Option<Vec<f32>>],
        polarities: Option<&[Option<f64>]>,
        language: Language,
        with_places: bool,
    ) -> Result<Self, ApiError> {
        // All or nothing: a document without a vector has no place in an answer.
        let vectors: Option<Vec<&[f32]>> = vectors.iter().map(Option::as_deref).collect();
        let vectors = vectors.ok_or_else(ApiError::server)?;
        let texts: Vec<&str> = request.documents.iter().map(|document| document.text.as_str()).collect();
        let grouped = Grouped::of(&texts, &vectors, request.clusters, language);
        let item = |member: &Member| {
            let document = &request.documents[member.document];
            let [x, y] = member.place.map(|place| with_places.then(|| rounded(place)));
            DocumentItem {
                doc_id: document.doc_id.clone(),
                text: document.text.clone(),
                entities: document.entities.clone(),
                cluster_probability: rounded(member.probability),
                x,
                y,
            }
        };
        let cluster = |cluster_id: i64, members: &[Member], top_words: Vec<String>| ClusterItem {
            cluster_id,
            document_count: members.len(),
            documents: members.iter().map(item).collect(),
            top_words,
            entities: entities(request, members),
            sentiment: polarities.map(|polarities| mean(members, polarities)),
        };
        let numbered = grouped.clustering.clusters.iter().zip(grouped.top_words).zip(0..);
        let mut clusters: Vec<ClusterItem> =
            numbered.map(|((one, words), number)| cluster(number, &one.members, words)).collect();
        let (total_clusters, outliers) = (clusters.len(), grouped.clustering.outliers.len());
        if outliers > 0 {
            clusters.push(cluster(-1, &grouped.clustering.outliers, Vec::new()));
        }
        let mut alternatives = grouped.clustering.alternatives;
        alternatives.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.clusters.cmp(&b.clusters)));
        alternatives.truncate(ALTERNATIVES);
        let considered = alternatives.iter();
        Ok(Self {
            clusters,
            total_documents: request.documents.len(),
            total_clusters,
            outliers_count: outliers,
            outliers,
            clustering_method: "ward-spherical-kmeans",
            language: language.code(),
            min_clusters: 2,
            alternatives: considered
                .map(|one| AlternativeItem { clusters: one.clusters, score: rounded(one.score) })
                .collect(),
            warnings: request.warnings.clone(),
        })
    }
}

/// Names of the members' documents, the most frequent first, each once.
fn entities(request: &ClusterRequest, members: &[Member]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for member in members {
        for entity in &request.documents[member.document].entities {
            *counts.entry(entity).or_default() += 1;
        }
    }
    let mut sorted: Vec<(&str, usize)> = counts.into_iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    sorted.into_iter().map(|(entity, _)| entity.to_owned()).collect()
}

/// Mean polarity of the members that were scored; 0 where none was.
fn mean(members: &[Member], polarities: &[Option<f64>]) -> f64 {
    // In request order, so that the sum does not depend on the clusters.
    let mut documents: Vec<usize> = members.iter().map(|member| member.document).collect();
    documents.sort_unstable();
    let scored: Vec<f64> = documents.into_iter().filter_map(|document| polarities[document]).collect();
    if scored.is_empty() { 0.0 } else { rounded(scored.iter().sum::<f64>() / scored.len() as f64) }
}

/// Four digits after the point.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
