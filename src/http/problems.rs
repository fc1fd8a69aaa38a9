//! What is wrong with a request's content.

/// Most problems that one answer lists. The others are counted: a body of millions of wrong values must not
/// cost more memory than it brings.
const LISTED: usize = 100;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldProblem {
    /// Such as `docs[3].doc`.
    pub(super) path: String,
    pub(super) problem: String,
}

/// All that is wrong: the first problems in words, the others in number.
#[derive(Clone, Debug, Default)]
pub(super) struct Problems {
    listed: Vec<FieldProblem>,
    total: usize,
}

impl Problems {
    /// A single problem.
    pub(super) fn only(path: &str, problem: impl Into<String>) -> Self {
        let mut problems = Self::default();
        problems.add(path, problem);
        problems
    }

    pub(super) fn add(&mut self, path: &str, problem: impl Into<String>) {
        self.total += 1;
        if self.listed.len() < LISTED {
            self.listed.push(FieldProblem { path: path.to_owned(), problem: problem.into() });
        }
    }

    /// Takes note of others as well.
    pub(super) fn extend(&mut self, others: &Self) {
        self.total += others.total;
        self.listed.extend(others.listed.iter().take(LISTED - self.listed.len()).cloned());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub(super) fn listed(&self) -> &[FieldProblem] {
        &self.listed
    }

    /// How many are not listed.
    pub(super) fn unlisted(&self) -> usize {
        self.total - self.listed.len()
    }

    /// The first one, and how many more there are.
    pub(super) fn summary(&self) -> String {
        match &self.listed[..] {
            [] => "the request is not valid".to_owned(),
            [first, ..] if self.total == 1 => format!("{}: {}", first.path, first.problem),
            [first, ..] => format!("{}: {} (and {} more)", first.path, first.problem, self.total - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_beyond_the_list_are_counted() {
        let mut all = Problems::only("a", "is wrong");
        assert_eq!(all.summary(), "a: is wrong");
        for _ in 0..150 {
            all.extend(&Problems::only("b", "too"));
        }
        all.add("c", "as well");
        assert_eq!((all.listed().len(), all.unlisted()), (100, 52));
        assert_eq!(all.summary(), "a: is wrong (and 151 more)");
    }
}
