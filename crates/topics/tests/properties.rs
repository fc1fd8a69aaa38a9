//! What holds for any documents: each is in one place, and neither order, threads nor repetition change the clusters.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sentor_topics::{Clustering, Document, Options, cluster};

/// Texts with vectors near one of a few directions.
fn documents() -> impl Strategy<Value = Vec<(String, Vec<f32>)>> {
    let document = (0..5_usize, prop::collection::vec(-0.4_f32..0.4, 16), "[a-d]{1,3}");
    prop::collection::vec(document, 1..120).prop_map(|documents| {
        let mut seen = BTreeSet::new();
        documents
            .into_iter()
            .enumerate()
            .map(|(index, (subject, mut vector, text))| {
                vector[subject] += 1.0;
                let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
                for value in &mut vector {
                    *value /= norm;
                }
                // Equal texts have equal vectors.
                let text = if seen.insert(text.clone()) { text } else { format!("{text} {index}") };
                (text, vector)
            })
            .collect()
    })
}

fn clustered(documents: &[(String, Vec<f32>)], options: &Options) -> Clustering {
    let documents: Vec<Document<'_>> =
        documents.iter().map(|(text, vector)| Document { text, vector }).collect();
    cluster(&documents, options)
}

/// The texts of each cluster with their probabilities, and those of the outliers.
type Content = (Vec<Vec<(String, u64)>>, Vec<(String, u64)>);

fn content(clustering: &Clustering, documents: &[(String, Vec<f32>)]) -> Content {
    let shown =
        |member: &sentor_topics::Member| (documents[member.document].0.clone(), member.probability.to_bits());
    let clusters = clustering.clusters.iter().map(|one| one.members.iter().map(shown).collect()).collect();
    let mut outliers: Vec<_> = clustering.outliers.iter().map(shown).collect();
    outliers.sort();
    (clusters, outliers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_document_is_in_one_place(documents in documents()) {
        let clustering = clustered(&documents, &Options::default());
        let members = clustering.clusters.iter().flat_map(|one| &one.members).chain(&clustering.outliers);
        let mut places: Vec<usize> = members.clone().map(|member| member.document).collect();
        places.sort_unstable();
        prop_assert_eq!(places, (0..documents.len()).collect::<Vec<_>>());
        prop_assert!(members.clone().all(|member| (0.0..=1.0).contains(&member.probability)));
        prop_assert!(clustering.clusters.iter().all(|one| !one.members.is_empty()));
        prop_assert!(clustering.clusters.is_sorted_by(|a, b| a.members.len() >= b.members.len()));
    }

    #[test]
    fn order_and_repetition_change_nothing(documents in documents(), shift in 0..120_usize, backwards: bool) {
        let mut moved = documents.clone();
        moved.rotate_left(shift % documents.len());
        if backwards {
            moved.reverse();
        }
        let first = content(&clustered(&documents, &Options::default()), &documents);
        prop_assert_eq!(&first, &content(&clustered(&moved, &Options::default()), &moved));
        prop_assert_eq!(&first, &content(&clustered(&documents, &Options::default()), &documents));
    }

    #[test]
    fn as_many_clusters_as_asked_for_at_most(documents in documents(), count in 1..9_usize) {
        let options = Options { clusters: Some(count), ..Options::default() };
        let clustering = clustered(&documents, &options);
        prop_assert!(clustering.clusters.len() <= count.min(documents.len()));
        prop_assert!(clustering.alternatives.is_empty());
    }
}

#[test]
fn threads_change_nothing() {
    // More rows than a thread takes at a time, from a fixed sequence of numbers.
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).expect("sixteen bits are left")) / 65_536.0 - 0.5
    };
    let documents: Vec<(String, Vec<f32>)> = (0..700)
        .map(|index| {
            let mut vector: Vec<f32> = (0..64).map(|_| next()).collect();
            vector[index % 9] += 2.0;
            let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            (format!("text {index}"), vector.into_iter().map(|value| value / norm).collect())
        })
        .collect();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        pool.install(|| content(&clustered(&documents, &Options::default()), &documents))
    };
    let one = with(1);
    assert_eq!(one.0.len(), 9, "as many as there are subjects");
    assert_eq!(one, with(2));
    assert_eq!(one, with(7));
}

#[test]
fn a_text_that_stands_several_times_counts_as_often() {
    let vector = |x: f32, y: f32| vec![x, y];
    let documents: Vec<(String, Vec<f32>)> =
        [("a", 1.0, 0.0), ("a", 1.0, 0.0), ("a", 1.0, 0.0), ("b", 0.0, 1.0)]
            .map(|(text, x, y)| (text.to_owned(), vector(x, y)))
            .to_vec();
    let clustering = clustered(&documents, &Options::default());
    let sizes: Vec<usize> = clustering.clusters.iter().map(|one| one.members.len()).collect();
    assert_eq!(sizes, [3, 1]);
    assert!(clustered(&[], &Options::default()).clusters.is_empty());
}
