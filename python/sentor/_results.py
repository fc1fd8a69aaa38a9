"""What comes back: a `Result` for each text, or `Failed` in its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Probabilities:
    """Three probabilities in 0..1, whose sum is 1."""

    negative: float
    neutral: float
    positive: float

    @classmethod
    def _read(cls, wire: Mapping[str, Any]) -> Probabilities:
        return cls(wire["negative"], wire["neutral"], wire["positive"])


@dataclass(frozen=True)
class Mention:
    """A place where the text mentions an entity: `result.text[mention.start:mention.end] == mention.text`."""

    start: int
    end: int
    text: str
    sentence_index: int
    form: str
    """How the words match the name, such as `exact`."""
    sentiment: str
    probabilities: Probabilities

    @classmethod
    def _read(cls, wire: Mapping[str, Any]) -> Mention:
        return cls(
            wire["start"],
            wire["end"],
            wire["text"],
            wire["sentence_index"],
            wire["form"],
            wire["sentiment"],
            Probabilities._read(wire["probabilities"]),
        )


@dataclass(frozen=True)
class EntitySentiment:
    """How the text feels about one entity."""

    entity: str
    """The name as asked for."""
    sentiment: str
    """`negative`, `neutral` or `positive`."""
    score: float
    """The probability of `sentiment`."""
    probabilities: Probabilities
    polarity: float
    """Positive minus negative, -1..1."""
    match: str
    """`explicit` if the text mentions the entity, else `implicit`."""
    mentions: tuple[Mention, ...]

    @classmethod
    def _read(cls, wire: Mapping[str, Any]) -> EntitySentiment:
        return cls(
            wire["entity"],
            wire["sentiment"],
            wire["score"],
            Probabilities._read(wire["probabilities"]),
            wire["polarity"],
            wire["match"],
            tuple(map(Mention._read, wire["mentions"])),
        )


@dataclass(frozen=True)
class Sentence:
    """How one sentence feels: `result.text[sentence.start:sentence.end] == sentence.text`."""

    start: int
    end: int
    text: str
    sentiment: str
    probabilities: Probabilities

    @classmethod
    def _read(cls, wire: Mapping[str, Any]) -> Sentence:
        return cls(
            wire["start"],
            wire["end"],
            wire["sentence_text"],
            wire["predicted_label"],
            Probabilities._read(wire["probabilities"]),
        )


@dataclass(frozen=True)
class Warning:
    """What to know about how a text was scored."""

    code: str
    message: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """How a text feels as a whole, in each sentence and about each entity.

    Offsets count code points, as Python's strings do.
    """

    text: str
    sentiment: str
    """`negative`, `neutral` or `positive`."""
    probabilities: Probabilities
    sentences: tuple[Sentence, ...]
    """All sentences, in order."""
    entities: tuple[EntitySentiment, ...]
    """One for each entity that was asked for, in that order."""
    language: str
    """What the text was scored as, `en` or `nl`."""
    detected_language: str
    """What the text reads as: an ISO 639 code, or `und`."""
    detection_confidence: float
    warnings: tuple[Warning, ...] = ()
    _wire: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def _read(cls, text: str, wire: dict[str, Any]) -> Result:
        wire.pop("doc_id", None)
        return cls(
            text,
            wire["predicted_label"],
            Probabilities._read(wire["probabilities"]),
            tuple(map(Sentence._read, wire["details"])),
            tuple(map(EntitySentiment._read, wire["entity_sentiments"])),
            wire["language"],
            wire["detected_language"]["language"],
            wire["detected_language"]["confidence"],
            tuple(Warning(warning["code"], warning["message"], warning["details"]) for warning in wire["warnings"]),
            wire,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result as the server writes it in JSON, without `doc_id`; it may hold more fields than this class."""
        return dict(self._wire)

    def entity(self, name: str) -> EntitySentiment:
        """Return the sentiment toward the entity of this name; `KeyError` if it was not asked for."""
        for entity in self.entities:
            if entity.entity == name:
                return entity
        raise KeyError(name)

    def show(self) -> Any:
        """Show the text in a notebook, with its mentions marked by colour. Elsewhere it returns an object with the HTML."""
        from ._html import Page

        return Page(self)

    def _repr_html_(self) -> str:
        from ._html import Page

        return Page(self)._repr_html_()


@dataclass(frozen=True)
class Failed:
    """Stands in the place of a text that could not be scored, where `errors="keep"`. It is false: `if result: …`."""

    text: str
    reason: str

    def __bool__(self) -> bool:
        return False

    def to_dict(self) -> dict[str, Any]:
        """Return the reason as `{"error": {"message": …}}`."""
        return {"error": {"message": self.reason}}


def is_missing(value: object) -> bool:
    """Whether a value is one that tables hold where there is no text."""
    return value is None or (isinstance(value, float) and math.isnan(value))
