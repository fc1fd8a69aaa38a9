//! Stub; the real module comes from the branch `text`.

/// How a mention matches its entity's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchForm {
    /// The name itself.
    Exact,
    /// A plural, possessive or diminutive of it.
    Inflected,
    /// A compound with it.
    Compound,
}

impl MatchForm {
    /// The label on the wire.
    pub fn label(self) -> &'static str {
        match self { Self::Exact => "exact", Self::Inflected => "inflected", Self::Compound => "compound" }
    }
}
