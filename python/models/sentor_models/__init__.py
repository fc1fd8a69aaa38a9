"""The models of sentor, as files."""

from pathlib import Path

__all__ = ["folder"]


def folder() -> Path:
    """Return the folder that holds the models by name, such as `sentor-en`."""
    return Path(__file__).resolve().parent / "models"
