"""The extension module; use the package instead."""

from os import PathLike
from typing import Any

def load_runtime(path: str) -> None: ...

class Engine:
    def __new__(
        cls, onnxruntime: str | PathLike[str], models: list[tuple[str, str | PathLike[str]]], threads: int | None
    ) -> Engine: ...
    @property
    def threads(self) -> int: ...
    @property
    def documents_ahead(self) -> int: ...
    def submit(self, documents: list[tuple[str, list[str]]], language: str, pronouns: bool) -> Answer: ...
    def score_arrow(
        self,
        data: Any,
        *,
        text: str,
        entities_column: str | None,
        is_optional: bool,
        entities: list[str],
        language: str,
        pronouns: bool,
        prefix: str,
    ) -> ArrowStream: ...
    def close(self) -> None: ...

class Answer:
    def wait(self) -> list[bytes | str]: ...

class ArrowStream:
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
