"""Where ONNX Runtime and the models are."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Union

from . import _native
from ._errors import SentorError

Folder = Union[str, "os.PathLike[str]"]
LANGUAGES = ("en", "nl")
# ONNX Runtime reads this while its environment is made, and otherwise reports to its vendor.
TELEMETRY = "ORT_DISABLE_TELEMETRY"


def load() -> Path:
    """Load the library of the package `onnxruntime`, once for the process, and return its path."""
    path = library()
    before = os.environ.get(TELEMETRY)
    os.environ[TELEMETRY] = "1"
    try:
        _native.load_runtime(str(path))
    except RuntimeError as error:
        raise SentorError(str(error)) from None
    finally:
        if before is None:
            del os.environ[TELEMETRY]
        else:
            os.environ[TELEMETRY] = before
    return path


def library() -> Path:
    """The library inside the package `onnxruntime`, which is not imported for it."""
    spec = importlib.util.find_spec("onnxruntime")
    folders = (spec and spec.submodule_search_locations) or []
    for folder in folders:
        capi = Path(folder) / "capi"
        found = sorted(capi.glob("libonnxruntime.so.*")) + sorted(capi.glob("libonnxruntime.*.dylib"))
        if found:
            return found[-1].resolve()
    raise SentorError("there is no ONNX Runtime: install the package onnxruntime (pip install 'onnxruntime~=1.31.1')")


def model_folders(models: Folder | Mapping[str, Folder] | None) -> dict[str, Path]:
    """The folder of the model of each language."""
    if models is None:
        return packaged_models(is_needed=True)
    if isinstance(models, Mapping):
        unknown = [language for language in models if language not in LANGUAGES]
        if unknown:
            raise ValueError(f"there is no language {unknown[0]!r}; the languages are en and nl")
        given = {language: Path(folder).resolve() for language, folder in models.items()}
        for folder in given.values():
            manifest(folder)
        return {**packaged_models(is_needed=False), **given}
    folder = Path(models).resolve()
    if (folder / "manifest.json").is_file():
        return {language: folder for language in manifest(folder)["languages"] if language in LANGUAGES}
    found = in_folder(folder)
    if not found:
        raise SentorError(f"there is no model in {folder}: it holds neither manifest.json nor sentor-en or sentor-nl")
    return found


def packaged_models(is_needed: bool) -> dict[str, Path]:
    """The models of the package `sentor-models`."""
    try:
        import sentor_models
    except ImportError:
        if is_needed:
            raise SentorError(
                "there are no models: install the package sentor-models, or give a folder as Scorer(models=FOLDER)"
            ) from None
        return {}
    return in_folder(sentor_models.folder())


def in_folder(folder: Path) -> dict[str, Path]:
    """The models that a folder holds under the names of this project."""
    candidates = {language: folder / f"sentor-{language}" for language in LANGUAGES}
    return {language: model for language, model in candidates.items() if (model / "manifest.json").is_file()}


def manifest(folder: Path) -> dict:
    """The manifest of a model folder."""
    try:
        return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SentorError(f"{folder} is not a model folder: {error}") from None
