"""Sentiment toward named entities in English and Dutch text, scored inside this process.

>>> import sentor
>>> scorer = sentor.Scorer()
>>> result = scorer.score("The camera is superb, but the battery is a joke.", entities=["camera", "battery"])
>>> [(entity.entity, entity.sentiment) for entity in result.entities]
[('camera', 'positive'), ('battery', 'negative')]

`Scorer` scores texts and Arrow tables, `Client` and `AsyncClient` ask a server instead, and `sentor.plot` draws charts. Importing this package loads neither models nor any of those libraries.
"""

from importlib.metadata import version as _version

from ._errors import SentorError
from ._results import EntitySentiment, Failed, Mention, Probabilities, Result, Sentence, Warning
from ._scorer import Scorer

__version__ = _version("sentor")

__all__ = [
    "AsyncClient",
    "Client",
    "EntitySentiment",
    "Failed",
    "Mention",
    "Probabilities",
    "Result",
    "Scorer",
    "Sentence",
    "SentorError",
    "ServerError",
    "Warning",
]


def __getattr__(name: str):
    # The client needs httpx, which those who score in the process need not have.
    if name in ("AsyncClient", "Client", "ServerError"):
        from . import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
