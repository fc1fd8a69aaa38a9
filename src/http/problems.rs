//! The problems of a request's content.

use std::cell::Cell;

/// Maximum problems of a list. Further ones are counted: the answer to a body of millions of wrong values must not be
/// larger than the body.
const LISTED: usize = 100;

/// Maximum problems of all lists of a request together, besides the first one of each.
const LISTED_PER_REQUEST: usize = 1000;

/// Maximum bytes of the problems of all lists of a request together, besides the first one of each.
const LISTED_BYTES_PER_REQUEST: usize = 128 * 1024;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldProblem {
    /// The place, such as `docs[3].doc`.
    pub(super) path: String,
    pub(super) problem: String,
}

/// The remaining room for problems of a request. Under `partial=true` each document has a list of its own.
#[derive(Debug)]
pub(super) struct ListBudget {
    problems: Cell<usize>,
    bytes: Cell<usize>,
}

impl Default for ListBudget {
    fn default() -> Self {
        Self { problems: Cell::new(LISTED_PER_REQUEST), bytes: Cell::new(LISTED_BYTES_PER_REQUEST) }
    }
}

impl ListBudget {
    /// Returns whether one more problem of this size fits, and counts it if so.
    fn charge(&self, bytes: usize) -> bool {
        let left = self.problems.get().checked_sub(1).zip(self.bytes.get().checked_sub(bytes));
        if let Some((problems, bytes)) = left {
            self.problems.set(problems);
            self.bytes.set(bytes);
        }
        left.is_some()
    }
}

/// A list of problems: the first ones in full, the others as a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Problems<'b> {
    listed: Vec<FieldProblem>,
    total: usize,
    budget: Option<&'b ListBudget>,
}

impl<'b> Problems<'b> {
    /// A list that shares a budget with others.
    pub(super) fn within(budget: &'b ListBudget) -> Self {
        Self { budget: Some(budget), ..Self::default() }
    }

    /// A single problem.
    pub(super) fn only(path: &str, problem: impl Into<String>) -> Self {
        let mut problems = Self::default();
        problems.add(path, problem);
        problems
    }

    pub(super) fn add(&mut self, path: &str, problem: impl Into<String>) {
        self.add_with(path.len(), || FieldProblem { path: path.to_owned(), problem: problem.into() });
    }

    /// Adds the problems of another list.
    pub(super) fn extend(&mut self, others: &Self) {
        for problem in &others.listed {
            self.add_with(problem.path.len(), || problem.clone());
        }
        self.total += others.unlisted();
    }

    fn add_with(&mut self, path_bytes: usize, problem: impl FnOnce() -> FieldProblem) {
        /// Bytes of a problem's message; few are longer.
        const PROBLEM_BYTES: usize = 60;
        self.total += 1;
        let is_first = self.listed.is_empty();
        let fits = self.budget.is_none_or(|budget| budget.charge(path_bytes + PROBLEM_BYTES));
        if is_first || (fits && self.listed.len() < LISTED) {
            self.listed.push(problem());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub(super) fn listed(&self) -> &[FieldProblem] {
        &self.listed
    }

    /// The number of problems that are not listed.
    pub(super) fn unlisted(&self) -> usize {
        self.total - self.listed.len()
    }

    /// The first problem, and the number of others.
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

    #[test]
    fn the_lists_of_a_request_are_bounded_together() {
        let budget = ListBudget::default();
        let lists: Vec<Problems<'_>> = (0..10_000)
            .map(|_| {
                let mut list = Problems::within(&budget);
                (0..98).for_each(|_| list.add("docs[0].entities[0]", "must be a string"));
                list
            })
            .collect();
        assert!(lists.iter().all(|list| !list.listed().is_empty() && list.total == 98));
        let listed: usize = lists.iter().map(|list| list.listed().len()).sum();
        assert!((10_000..=10_000 + LISTED_PER_REQUEST).contains(&listed), "{listed}");
    }
}
