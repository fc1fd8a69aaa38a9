//! Reads JSON with wrong types to its end, and reports the type of each value.
//!
//! Serde stops at the first value of a wrong type, but a caller wants all problems at once. A [`Shape`] is the expected
//! type of a value. Reading returns a [`Field`]: the value, or the type that was found. Wrong values are not kept, so a
//! body of a million of them costs no memory.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A value, or what was found in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Field<T> {
    /// Nothing.
    #[default]
    Missing,
    /// `null`.
    Null,
    /// A value of the right type.
    Value(T),
    /// A value of this other type.
    Wrong(&'static str),
}

/// The start of a list, and its total length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Items<T> {
    pub(super) head: Vec<T>,
    pub(super) total: usize,
}

/// The expected type of a value: one method accepts it, the others report what was found.
pub(super) trait Shape<'de>: Copy {
    type Value;

    fn text(self, _text: &str) -> Field<Self::Value> {
        Field::Wrong("a string")
    }

    fn list<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field<Self::Value>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Wrong("a list"))
    }

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Field<Self::Value>, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Wrong("an object"))
    }
}

/// Reads a value that should have a shape.
#[derive(Clone, Copy)]
pub(super) struct Read<S>(pub(super) S);

impl<'de, S: Shape<'de>> DeserializeSeed<'de> for Read<S> {
    type Value = Field<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Shape<'de>> Visitor<'de> for Read<S> {
    type Value = Field<S::Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::Wrong("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Field::Wrong("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Field::Wrong("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Field::Wrong("a number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        self.0.list(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        self.0.object(members)
    }
}

/// A string.
#[derive(Clone, Copy)]
pub(super) struct Text;

impl Shape<'_> for Text {
    type Value = String;

    fn text(self, text: &str) -> Field<String> {
        Field::Value(text.to_owned())
    }
}

/// A list of values with a shape, of which at most `most` are kept.
#[derive(Clone, Copy)]
pub(super) struct List<S> {
    pub(super) item: S,
    pub(super) most: usize,
}

impl<'de, S: Shape<'de>> Shape<'de> for List<S> {
    type Value = Items<Field<S::Value>>;

    fn list<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field<Self::Value>, A::Error> {
        let mut head = Vec::new();
        while head.len() < self.most {
            let Some(item) = items.next_element_seed(Read(self.item))? else { break };
            head.push(item);
        }
        let mut total = head.len();
        if total == self.most {
            while items.next_element::<IgnoredAny>()?.is_some() {
                total += 1;
            }
        }
        Ok(Field::Value(Items { head, total }))
    }
}

/// The name of an object's member.
///
/// Only known names matter, so the name is not copied.
pub(super) struct Member<K>(pub(super) Option<K>);

/// The members that an object may have.
pub(super) trait Members: Sized {
    fn named(name: &str) -> Option<Self>;
}

impl<'de, K: Members> Deserialize<'de> for Member<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor<K>(PhantomData<K>);

        impl<K: Members> Visitor<'_> for NameVisitor<K> {
            type Value = Member<K>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Member<K>, E> {
                Ok(Member(K::named(name)))
            }
        }

        deserializer.deserialize_str(NameVisitor(PhantomData))
    }
}
