//! Computes a document's scores from the outputs of its sequences.

use std::sync::Arc;

use sentor_engine::SequenceOutput;
use sentor_engine::registry::Task;
use sentor_text::aggregate;
use sentor_text::discover::Kind;
use sentor_text::mention::Mention;
use sentor_text::sentiment::{Distribution, Polarity};

use super::{Plan, Reading, Requested};
use crate::{
    DiscoveredAnalysis, DocumentAnalysis, DocumentError, EntityAnalysis, MentionAnalysis, SentenceAnalysis,
    Warning,
};

impl Plan {
    /// Computes the scores of the document from the outputs of its sequences.
    pub(crate) fn aggregate(
        mut self,
        outputs: &[Option<SequenceOutput>],
    ) -> Result<DocumentAnalysis, DocumentError> {
        // One list for all sentences: a text may have a million.
        let mut pieces: Vec<(usize, (Distribution, usize))> = Vec::with_capacity(self.sentences.len());
        let mut mention_scores = vec![None; self.mentions.len()];
        let mut implicit_scores: Vec<Vec<Distribution>> = vec![Vec::new(); self.entities.len()];
        for (readings, output) in self.readings.iter().zip(outputs) {
            let output = output.as_ref().ok_or(DocumentError::Model)?;
            let logits = output.rows(Task::LOGITS).ok_or(DocumentError::Model)?;
            for (reading, logits) in readings.iter().zip(logits) {
                let logits = logits.try_into().map_err(|_| DocumentError::Model)?;
                let score = Distribution::from_logits(logits);
                match *reading {
                    Reading::Sentence { index, tokens } => pieces.push((index, (score, tokens))),
                    Reading::Mention(index) => mention_scores[index] = Some(score),
                    Reading::Implicit(entity) => implicit_scores[entity].push(score),
                }
            }
        }

        let sentence_scores = sentence_scores(self.sentences.len(), pieces);
        let weighted: Vec<_> =
            sentence_scores.iter().copied().zip(self.sentence_tokens.iter().copied()).collect();
        let mut mentions: Vec<Vec<MentionAnalysis>> = vec![Vec::new(); self.entities.len()];
        for (planned, score) in self.mentions.iter().zip(mention_scores) {
            let Mention { entity, span, form } = planned.mention;
            let sentiment = score.ok_or(DocumentError::Model)?;
            mentions[entity].push(MentionAnalysis {
                span,
                sentence_index: planned.sentence_index,
                form,
                sentiment,
            });
        }
        let scored: Vec<Scored> = mentions
            .into_iter()
            .zip(implicit_scores)
            .map(|(mentions, implicit)| Scored::new(mentions, &implicit))
            .collect();
        let asked = self.entities.len() - self.discovered.as_ref().map_or(0, Vec::len);
        let (asked, others) = scored.split_at(asked);
        let (entities, hidden) = answer_entities(&self.requested, asked, self.max_mentions);
        let names = &self.entities[asked.len()..];
        let discovered = self.discovered.map(|kinds| judged(names, &kinds, others));
        let of_mentions = scored.iter().flat_map(|entity| entity.mentions.iter());
        let opinions = sentence_scores.iter().copied().chain(of_mentions.map(|mention| mention.sentiment));
        let mixed = aggregate::is_mixed(opinions);
        let left_out = self.left_out + hidden;
        if left_out > 0 {
            self.warnings.push(Warning::MentionsLeftOut { count: left_out, most: self.max_mentions });
        }
        Ok(DocumentAnalysis {
            language: self.language,
            detection: self.detection,
            sentiment: aggregate::document(&weighted),
            sentences: self
                .sentences
                .into_iter()
                .zip(sentence_scores)
                .map(|(span, sentiment)| SentenceAnalysis { span, sentiment })
                .collect(),
            mixed,
            entities,
            discovered,
            warnings: self.warnings,
            tokens: self.tokens,
        })
    }
}

/// What was discovered and is judged, most telling first: by how far it is from neutral, and how often it stands there.
fn judged(names: &[String], kinds: &[Kind], scored: &[Scored]) -> Vec<DiscoveredAnalysis> {
    let candidates = names.iter().zip(kinds).zip(scored);
    let mut judged: Vec<DiscoveredAnalysis> = candidates
        .filter(|(_, scored)| scored.sentiment.polarity() != Polarity::Neutral)
        .map(|((name, &kind), Scored { sentiment, mentions })| DiscoveredAnalysis {
            entity: name.clone(),
            kind,
            sentiment: *sentiment,
            mentions: mentions.to_vec(),
        })
        .collect();
    let telling = |found: &DiscoveredAnalysis| {
        f64::from(found.sentiment.balance().abs()) * (found.mentions.len() as f64).sqrt()
    };
    judged.sort_by(|left, right| telling(right).total_cmp(&telling(left)));
    judged
}

/// The score of each sentence from those of its pieces, which are in the order of the windows that read them. A sentence without
/// tokens is neutral.
fn sentence_scores(sentences: usize, mut pieces: Vec<(usize, (Distribution, usize))>) -> Vec<Distribution> {
    // The sort is stable, and quick where they are in order, as they mostly are.
    pieces.sort_by_key(|&(sentence, _)| sentence);
    let mut scores = vec![Distribution::NEUTRAL; sentences];
    let mut own = Vec::new();
    for run in pieces.chunk_by(|(left, _), (right, _)| left == right) {
        own.clear();
        own.extend(run.iter().map(|&(_, piece)| piece));
        scores[run[0].0] = aggregate::sentence(&own);
    }
    scores
}

/// The scores of one distinct entity.
struct Scored {
    sentiment: Distribution,
    mentions: Arc<[MentionAnalysis]>,
}

impl Scored {
    fn new(mentions: Vec<MentionAnalysis>, implicit: &[Distribution]) -> Self {
        let scores: Vec<_> = mentions.iter().map(|mention| mention.sentiment).collect();
        let sentiment =
            if scores.is_empty() { aggregate::implicit(implicit) } else { aggregate::entity(&scores) };
        Self { sentiment, mentions: mentions.into() }
    }
}

/// Returns the answer for each requested entity (a name and its index among the distinct ones), and the number of
/// omitted mentions. Equal entities share their mentions. Together the answers list at most `most` mentions; the first
/// of equal entities has priority.
fn answer_entities(requested: &[Requested], scored: &[Scored], most: usize) -> (Vec<EntityAnalysis>, usize) {
    let distinct: usize = scored.iter().map(|entity| entity.mentions.len()).sum();
    // Each distinct entity lists all of its mentions, whose number is already bounded.
    let mut room = most.saturating_sub(distinct);
    let mut left_out = 0;
    let mut is_listed = vec![false; scored.len()];
    let mut answers = Vec::with_capacity(requested.len());
    for Requested { name, group, distinct } in requested {
        let Scored { sentiment, mentions } = &scored[*distinct];
        let listed = if std::mem::replace(&mut is_listed[*distinct], true) {
            let listed = room.min(mentions.len());
            room -= listed;
            left_out += mentions.len() - listed;
            if listed == mentions.len() { Arc::clone(mentions) } else { mentions[..listed].into() }
        } else {
            Arc::clone(mentions)
        };
        answers.push(EntityAnalysis {
            entity: name.clone(),
            group: group.clone(),
            sentiment: *sentiment,
            mixed: aggregate::is_mixed(mentions.iter().map(|mention| mention.sentiment)),
            is_explicit: !mentions.is_empty(),
            mentions: listed,
        });
    }
    (answers, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentor_text::mention::MatchForm;
    use sentor_text::span::Span;

    fn scored(mentions: usize) -> Scored {
        let mention = MentionAnalysis {
            span: Span::new(0, 2),
            sentence_index: 0,
            form: MatchForm::Exact,
            sentiment: Distribution::UNIFORM,
        };
        Scored::new(vec![mention; mentions], &[Distribution::NEUTRAL])
    }

    fn one(distinct: usize) -> Requested {
        Requested { name: distinct.to_string(), group: None, distinct }
    }

    fn listed(requested: &[usize], scored: &[Scored], most: usize) -> (Vec<usize>, usize) {
        let requested: Vec<_> = requested.iter().map(|&index| one(index)).collect();
        let (answers, left_out) = answer_entities(&requested, scored, most);
        for (answer, Requested { distinct, .. }) in answers.iter().zip(&requested) {
            assert_eq!(answer.is_explicit, !scored[*distinct].mentions.is_empty(), "whatever is listed");
        }
        (answers.iter().map(|answer| answer.mentions.len()).collect(), left_out)
    }

    #[test]
    fn equal_entities_share_the_limit_of_listed_mentions() {
        let scored = [scored(4), scored(2), scored(0)];
        assert_eq!(listed(&[0, 1, 2], &scored, 10), (vec![4, 2, 0], 0));
        assert_eq!(listed(&[0, 0, 1, 0], &scored, 14), (vec![4, 4, 2, 4], 0));
        assert_eq!(listed(&[0, 0, 1, 0, 1], &scored, 11), (vec![4, 4, 2, 1, 0], 5));
        assert_eq!(listed(&[0; 1000], &scored, 6).1, 999 * 4);
    }

    #[test]
    fn equal_entities_share_their_mentions() {
        let scored = [scored(4)];
        let (answers, _) = answer_entities(&[one(0), one(0)], &scored, 10);
        assert!(Arc::ptr_eq(&answers[0].mentions, &answers[1].mentions));
    }
}
