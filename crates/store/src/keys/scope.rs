//! Scopes: the permissions of a key.

use std::str::FromStr;

/// A permission of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Score documents.
    Predict,
    /// Cluster documents and name topics.
    Cluster,
    /// Submit jobs, and read their results.
    Jobs,
    /// Manage keys.
    Admin,
    /// Read metrics.
    Metrics,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Scope; 5] = [Self::Predict, Self::Cluster, Self::Jobs, Self::Admin, Self::Metrics];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Cluster => "cluster",
            Self::Jobs => "jobs",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }
}

/// A name that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope {0:?}; the scopes are predict, cluster, jobs, admin and metrics")]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.name() == name).ok_or_else(|| UnknownScope(name.to_owned()))
    }
}

/// The permissions of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// The default: what a caller needs that only sends documents.
    pub fn caller() -> Self {
        [Scope::Predict, Scope::Cluster, Scope::Jobs].into_iter().collect()
    }

    /// Returns `true` if `scope` is among them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & Self::bit(scope) != 0
    }

    /// Iterates over the scopes.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }

    /// Returns their names.
    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Scope::name).collect()
    }

    fn bit(scope: Scope) -> u8 {
        1 << scope as u8
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | Self::bit(scope)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_hold_what_they_were_given() {
        let scopes: Scopes = [Scope::Metrics, Scope::Predict].into_iter().collect();
        assert_eq!(scopes.names(), ["predict", "metrics"]);
        assert!(!scopes.contains(Scope::Admin));
        assert_eq!("root".parse::<Scope>(), Err(UnknownScope("root".to_owned())));
    }
}
