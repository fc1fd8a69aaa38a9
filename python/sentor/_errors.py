"""The error of this package."""


class SentorError(Exception):
    """A text could not be scored, or a model or library could not be loaded; the message says what to do."""
