"""Scoring inside this process."""

from __future__ import annotations

import atexit
import json
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, overload

from . import _native, _runtime
from ._errors import SentorError
from ._results import Failed, Result, is_missing
from ._runtime import Folder

# As `sentor predict` has it: documents that are scored together, and their length in characters.
BATCH_DOCUMENTS = 64
BATCH_CHARACTERS = 64 << 10

Document = tuple[str, list[str]]
Language = Literal["auto", "en", "nl"]
Errors = Literal["raise", "keep"]


class Scorer:
    """Scores texts toward entities.

    The models are loaded on first use, once in each process: a scorer can be made before a `fork`, and it can be pickled. Any
    number of threads can use it at the same time.

    Parameters
    ----------
    models
        A folder with `sentor-en` and `sentor-nl` in it, one model's folder, or a mapping from `"en"` and `"nl"` to folders.
        `None` means the package `sentor-models`.
    threads
        Threads that run the models. `None` means one for each core that the process may use.

    Examples
    --------
    >>> scorer = Scorer(threads=1)
    >>> scorer.score("What a great phone!").sentiment
    'positive'
    >>> scorer
    Scorer(models=None, threads=1)
    """

    def __init__(self, models: Folder | Mapping[str, Folder] | None = None, threads: int | None = None) -> None:
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise ValueError(f"threads is {threads!r}, and must be a whole number of at least 1, or None")
        self._models = models
        self._threads = threads
        self._forget_engine()
        _scorers.add(self)

    def _forget_engine(self) -> None:
        self._engine: _native.Engine | None = None
        self._lock = threading.Lock()

    @overload
    def score(
        self,
        texts: str,
        entities: Sequence[str] | None = ...,
        language: Language = ...,
        *,
        pronouns: bool = ...,
        errors: Literal["raise"] = ...,
    ) -> Result: ...
    @overload
    def score(
        self,
        texts: Sequence[str],
        entities: Sequence[str] | Sequence[Sequence[str]] | None = ...,
        language: Language = ...,
        *,
        pronouns: bool = ...,
        errors: Literal["raise"] = ...,
    ) -> list[Result]: ...
    @overload
    def score(
        self,
        texts: Iterable[str],
        entities: Sequence[str] | Iterable[Sequence[str]] | None = ...,
        language: Language = ...,
        *,
        pronouns: bool = ...,
        errors: Literal["raise"] = ...,
    ) -> Iterator[Result]: ...
    @overload
    def score(
        self,
        texts: str | Iterable[str],
        entities: Sequence[str] | Iterable[Sequence[str]] | None = ...,
        language: Language = ...,
        *,
        pronouns: bool = ...,
        errors: Errors,
    ) -> Any: ...

    def score(self, texts, entities=None, language="auto", *, pronouns=False, errors="raise"):
        """Score a text, a list of texts, or whatever yields texts.

        A `str` gives a `Result`, a list (or a column of a data frame) a list of them, and a generator or other iterable an
        iterator, which holds some hundred texts at a time.

        Parameters
        ----------
        texts
            What to score.
        entities
            Names to score every text toward; or, for several texts, a list of names for each text, as many as there are texts.
        language
            `"en"`, `"nl"`, or `"auto"`, which detects the language of each text.
        pronouns
            Whether a pronoun counts as a mention of the one entity that it can stand for.
        errors
            `"raise"` raises `SentorError` for the first text that cannot be scored, such as an empty one. `"keep"` puts a
            `Failed` in its place.

        Examples
        --------
        >>> scorer = Scorer(threads=1)
        >>> results = scorer.score(["Great phone.", "Slechte telefoon."], entities=[["phone"], ["telefoon"]])
        >>> [(result.language, result.entities[0].sentiment) for result in results]
        [('en', 'positive'), ('nl', 'negative')]
        >>> for result in scorer.score(text for text in ["Great phone.", " "]):
        ...     print(result.sentiment)
        Traceback (most recent call last):
        sentor._errors.SentorError: texts[1]: the text is empty or only white space
        >>> [bool(result) for result in scorer.score(["Great phone.", " "], errors="keep")]
        [True, False]
        """
        if errors not in ("raise", "keep"):
            raise ValueError(f"errors is {errors!r}, and must be 'raise' or 'keep'")
        if language not in ("auto", *_runtime.LANGUAGES):
            raise ValueError(f"there is no language {language!r}; the languages are en, nl and auto")
        if isinstance(texts, str):
            results = self._stream(documents([texts], entities), language, pronouns, errors, is_single=True)
            return next(results)
        if isinstance(texts, (bytes, Mapping)):
            raise TypeError(f"texts is a {type(texts).__name__}, and must be a str or yield str")
        results = self._stream(documents(texts, entities), language, pronouns, errors)
        is_list = hasattr(texts, "__len__") and hasattr(texts, "__getitem__")
        return list(results) if is_list else results

    def score_arrow(
        self,
        table: Any,
        text: str = "text",
        entities: str | Sequence[str] | None = "entities",
        language: Language = "auto",
        *,
        pronouns: bool = False,
        prefix: str = "",
    ) -> _native.ArrowStream:
        """Score the rows of a table, and return its columns with the scores behind them.

        Takes whatever has the Arrow PyCapsule interface (a table or reader of pyarrow, a data frame of pandas or Polars, a
        relation of DuckDB), and returns a stream that such libraries read: `pyarrow.table(stream)`,
        `pandas.DataFrame.from_arrow(stream)`, `polars.DataFrame(stream)`. Rows are scored as the stream is read, in bounded
        memory where the input is a reader. The stream can be read once.

        The new columns are `sentiment`, `negative`, `neutral`, `positive`, `polarity`, `language`, `entity_sentiments` (a list
        of structs with the same names, `entity`, `score`, `match` and `mentions`) and `error`, which says why a row has no
        scores. Probabilities are float32.

        Parameters
        ----------
        table
            Rows to score.
        text
            Column with the texts.
        entities
            Column with a list of names for each row, or a list of names for all rows. There may be no column `entities`; one of
            another name must be there.
        language, pronouns
            As in `score`.
        prefix
            Stands before the names of the new columns, for tables that have columns of those names.

        Examples
        --------
        >>> import pyarrow as pa
        >>> table = pa.table({"text": ["Great phone.", "Poor phone."], "entities": [["phone"], ["phone"]]})
        >>> scored = pa.table(Scorer(threads=1).score_arrow(table))
        >>> scored["sentiment"].to_pylist()
        ['positive', 'negative']
        """
        from_column, names = None, []
        if isinstance(entities, str):
            from_column = entities
        elif entities is not None:
            names = checked_names(entities, "entities")
        return self._started().score_arrow(
            table,
            text=text,
            entities_column=from_column,
            is_optional=from_column == "entities",
            entities=names,
            language=language,
            pronouns=pronouns,
            prefix=prefix,
        )

    def close(self) -> None:
        """End the threads and free the models. The next call loads them again."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Scorer(models={self._models!r}, threads={self._threads!r})"

    def __reduce__(self):
        return (type(self), (self._models, self._threads))

    def _started(self) -> _native.Engine:
        """The engine of this process."""
        engine = self._engine
        if engine is None:
            with self._lock:
                if self._engine is None:
                    self._engine = start(self._models, self._threads)
                engine = self._engine
        return engine

    def _stream(
        self, rows: Iterator[Document], language: str, pronouns: bool, errors: str, is_single: bool = False
    ) -> Iterator[Result | Failed]:
        engine = self._started()
        in_flight: deque[tuple[list[Document], _native.Answer]] = deque()
        ahead, index = 0, 0
        for batch in batches(rows):
            in_flight.append((batch, engine.submit(batch, language, pronouns)))
            ahead += len(batch)
            while ahead > engine.documents_ahead:
                results = finish(*in_flight.popleft(), index, errors, is_single)
                index += len(results)
                ahead -= len(results)
                yield from results
        while in_flight:
            results = finish(*in_flight.popleft(), index, errors, is_single)
            index += len(results)
            yield from results


_scorers: weakref.WeakSet[Scorer] = weakref.WeakSet()


def start(models: Folder | Mapping[str, Folder] | None, threads: int | None) -> _native.Engine:
    """Load models and start the threads."""
    folders = _runtime.model_folders(models)
    library = _runtime.load()
    try:
        return _native.Engine(library, list(folders.items()), threads)
    except RuntimeError as error:
        raise SentorError(str(error)) from None


def documents(texts: Iterable[str], entities: Any) -> Iterator[Document]:
    """Each text with its entities."""
    if entities is None:
        return ((checked_text(text, index), []) for index, text in enumerate(texts))
    if isinstance(entities, (str, bytes)):
        raise TypeError(f"entities is the text {entities!r}, and must be a list of names, such as [{entities!r}]")
    if isinstance(entities, Sequence) and all(isinstance(name, str) for name in entities):
        names = checked_names(entities, "entities")
        return ((checked_text(text, index), names) for index, text in enumerate(texts))
    return paired(texts, entities)


def paired(texts: Iterable[str], entities: Iterable[Sequence[str]]) -> Iterator[Document]:
    """Each text with the list of names in its place."""
    of_each = iter(entities)
    missing = object()
    index = -1
    for index, text in enumerate(texts):
        names = next(of_each, missing)
        if names is missing:
            raise ValueError(f"entities has {index} lists, and there are more texts")
        if isinstance(names, str):
            raise TypeError(f"entities[{index}] is the text {names!r}, and must be a list of names")
        names = [] if is_missing(names) else checked_names(names, f"entities[{index}]")
        yield checked_text(text, index), names
    if next(of_each, missing) is not missing:
        raise ValueError(f"there are {index + 1} texts, and entities has more lists")


def checked_text(text: object, index: int) -> str:
    """A text; an empty one where a table has none."""
    if isinstance(text, str):
        return text
    if is_missing(text):
        return ""
    raise TypeError(f"texts[{index}] is a {type(text).__name__}, and must be a str")


def checked_names(names: Iterable[object], place: str) -> list[str]:
    """Names of entities, none of them blank."""
    checked = []
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise TypeError(f"{place}[{index}] is a {type(name).__name__}, and must be a str")
        if not name.strip():
            raise ValueError(f"{place}[{index}] is blank")
        checked.append(name)
    return checked


def batches(rows: Iterator[Document]) -> Iterator[list[Document]]:
    """Rows in lists that are scored together."""
    batch: list[Document] = []
    length = 0
    for row in rows:
        batch.append(row)
        length += len(row[0])
        if len(batch) == BATCH_DOCUMENTS or length >= BATCH_CHARACTERS:
            yield batch
            batch, length = [], 0
    if batch:
        yield batch


def finish(
    batch: list[Document], answer: _native.Answer, first: int, errors: str, is_single: bool
) -> list[Result | Failed]:
    """Wait for the scores of a batch whose first text has the index `first`."""
    try:
        scored = answer.wait()
    except RuntimeError as error:
        raise SentorError(str(error)) from None
    results: list[Result | Failed] = []
    for offset, ((text, _), one) in enumerate(zip(batch, scored)):
        if isinstance(one, bytes):
            results.append(Result._read(text, json.loads(one)))
        elif errors == "keep":
            results.append(Failed(text, one))
        else:
            raise SentorError(one if is_single else f"texts[{first + offset}]: {one}")
    return results


def _after_fork() -> None:
    # The threads are gone, and a lock may be held by one of them.
    for scorer in list(_scorers):
        scorer._forget_engine()


def _at_exit() -> None:
    # Before the destructors of ONNX Runtime run.
    for scorer in list(_scorers):
        scorer.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
