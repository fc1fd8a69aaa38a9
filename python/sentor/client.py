"""Clients of a sentor server, with the interface of `Scorer`; they need httpx (`pip install 'sentor[client]'`).

>>> client = sentor.Client("http://127.0.0.1:8080", key)    # doctest: +SKIP
>>> client.score("Great phone.", entities=["phone"]).entities[0].sentiment    # doctest: +SKIP
'positive'
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from ._errors import SentorError
from ._results import Failed, Result
from ._scorer import Document, batches, documents

__all__ = ["AsyncClient", "Client", "ServerError"]

# Answers after which the same request may succeed.
BUSY = (429, 503)
# Pause after a broken connection, doubled with each try.
FIRST_PAUSE_S = 0.5


class ServerError(SentorError):
    """The server rejected a request."""

    def __init__(self, message: str, status: int, code: str | None, request_id: str | None) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status."""
        self.code = code
        """The code of the error, such as `invalid_key`."""
        self.request_id = request_id
        """What the server's log has the request under."""


class _Settings:
    """What both clients are made with."""

    def __init__(self, url: str, key: str | None, timeout_s: float, tries: int, longest_wait_s: float) -> None:
        if tries < 1:
            raise ValueError(f"tries is {tries}, and must be at least 1")
        base = url.rstrip("/").removesuffix("/api")
        self._url = f"{base}/api/predicts"
        self._tries = tries
        self._longest_wait_s = longest_wait_s
        headers = {"x-api-key": key} if key else {}
        self._http: Any = self._make(headers=headers, timeout=timeout_s)

    def _make(self, **settings: Any) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url.removesuffix('/api/predicts')!r})"

    def _pause_s(self, answer: httpx.Response | None, attempt: int) -> float | None:
        """Seconds before the next try; `None` if there should be none."""
        if attempt == self._tries:
            return None
        if answer is None:
            # Clients that lost one server do not come back at the same moment.
            return FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1)
        if answer.status_code not in BUSY:
            return None
        pause_s = retry_after_s(answer.headers.get("retry-after"), time.time())
        return pause_s if pause_s <= self._longest_wait_s else None


class Client(_Settings):
    """Scores texts on a server. It has the interface of `Scorer`, so that a program moves from one to the other by one line.

    A server that is busy, or a rate limit that is used up, is waited for as long as `Retry-After` says.

    Parameters
    ----------
    url
        Address of the server, with or without `/api` at its end.
    key
        The API key.
    timeout_s
        How long an answer may take.
    tries
        How often a request is sent at most.
    longest_wait_s
        A request is not sent again if the server asks for a longer wait than this.
    """

    def __init__(
        self, url: str, key: str | None = None, *, timeout_s: float = 60, tries: int = 5, longest_wait_s: float = 120
    ) -> None:
        super().__init__(url, key, timeout_s, tries, longest_wait_s)

    def _make(self, **settings: Any) -> httpx.Client:
        return httpx.Client(**settings)

    def score(
        self,
        texts: str | Iterable[str],
        entities: Any = None,
        language: str = "auto",
        *,
        pronouns: bool = False,
        errors: str = "raise",
    ) -> Any:
        """Score a text, a list of texts, or whatever yields texts, as `Scorer.score` does."""
        if isinstance(texts, str):
            return next(self._stream(documents([texts], entities), language, pronouns, errors))
        results = self._stream(documents(texts, entities), language, pronouns, errors)
        is_list = hasattr(texts, "__len__") and hasattr(texts, "__getitem__")
        return list(results) if is_list else results

    def _stream(self, rows: Iterator[Document], language: str, pronouns: bool, errors: str) -> Iterator[Result | Failed]:
        index = 0
        for batch in batches(rows):
            results = read(batch, self._post(request(batch, language, pronouns)), index, errors)
            index += len(results)
            yield from results

    def _post(self, arguments: dict[str, Any]) -> Mapping[str, Any]:
        for attempt in range(1, self._tries + 1):
            answer, problem = None, None
            try:
                answer = self._http.post(self._url, **arguments)
            except httpx.TransportError as error:
                problem = error
            pause_s = self._pause_s(answer, attempt) if answer is None or not answer.is_success else None
            if pause_s is None:
                return checked(answer, problem)
            time.sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_Settings):
    """`Client` for asyncio: `await client.score(…)`. Several requests are under way at a time.

    Parameters
    ----------
    url, key, timeout_s, tries, longest_wait_s
        As of `Client`.
    concurrency
        Requests under way at a time.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = 60,
        tries: int = 5,
        longest_wait_s: float = 120,
        concurrency: int = 4,
    ) -> None:
        super().__init__(url, key, timeout_s, tries, longest_wait_s)
        self._concurrency = concurrency

    def _make(self, **settings: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(**settings)

    async def score(
        self,
        texts: str | Iterable[str],
        entities: Any = None,
        language: str = "auto",
        *,
        pronouns: bool = False,
        errors: str = "raise",
    ) -> Any:
        """Score a text, which gives a `Result`, or several, which gives a list."""
        is_single = isinstance(texts, str)
        all_batches = list(batches(documents([texts] if is_single else texts, entities)))
        room = asyncio.Semaphore(self._concurrency)

        async def scored(batch: list[Document]) -> Mapping[str, Any]:
            async with room:
                return await self._post(request(batch, language, pronouns))

        answers = await asyncio.gather(*map(scored, all_batches))
        results: list[Result | Failed] = []
        for batch, answer in zip(all_batches, answers):
            results += read(batch, answer, len(results), errors)
        return results[0] if is_single else results

    async def _post(self, arguments: dict[str, Any]) -> Mapping[str, Any]:
        for attempt in range(1, self._tries + 1):
            answer, problem = None, None
            try:
                answer = await self._http.post(self._url, **arguments)
            except httpx.TransportError as error:
                problem = error
            pause_s = self._pause_s(answer, attempt) if answer is None or not answer.is_success else None
            if pause_s is None:
                return checked(answer, problem)
            await asyncio.sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def request(batch: list[Document], language: str, pronouns: bool) -> dict[str, Any]:
    """The arguments of a request for a batch."""
    docs = [{"doc_id": str(index), "doc": text, "entities": names} for index, (text, names) in enumerate(batch)]
    query = {"language": language, "partial": "true", "offsets": "codepoint"}
    if pronouns:
        query["pronouns"] = "true"
    return {"params": query, "json": {"docs": docs}}


def read(batch: list[Document], answer: Mapping[str, Any], first: int, errors: str) -> list[Result | Failed]:
    """The results of a batch whose first text has the index `first`."""
    results: list[Result | Failed] = []
    for offset, ((text, _), wire) in enumerate(zip(batch, answer["results"])):
        if "error" not in wire:
            results.append(Result._read(text, wire))
        elif errors == "keep":
            results.append(Failed(text, reason(wire["error"])))
        else:
            raise SentorError(f"texts[{first + offset}]: {reason(wire['error'])}")
    return results


def reason(error: Mapping[str, Any]) -> str:
    """Why a document has no result, without its place in the request, which the caller does not know."""
    fields = error.get("details", {}).get("fields", [])
    return "; ".join(map(problem_of, fields)) or error["message"]


def problem_of(field: Mapping[str, str]) -> str:
    """A problem of a document, such as `{"path": "docs[3].doc", "problem": "is empty"}`, as a phrase."""
    name, problem = field["path"].rpartition(".")[2], field["problem"]
    if problem.startswith("the "):
        return problem
    return f"the text {problem}" if name == "doc" else f"{name} {problem}"


def checked(answer: httpx.Response | None, problem: Exception | None) -> Mapping[str, Any]:
    """The body of a success; everything else is raised."""
    if answer is None:
        raise SentorError(f"the server cannot be reached: {problem}") from problem
    if answer.is_success:
        return answer.json()
    try:
        body = answer.json()
    except ValueError:
        body = {}
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {}
    message = error.get("message") or f"the server answered {answer.status_code} {answer.reason_phrase}"
    raise ServerError(message, answer.status_code, error.get("code"), error.get("request_id"))


def retry_after_s(value: str | None, now_s: float) -> float:
    """Seconds that a `Retry-After` asks for, which holds seconds or a date; one second if it holds neither."""
    if value is None:
        return 1.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_s)
    except (TypeError, ValueError):
        return 1.0
