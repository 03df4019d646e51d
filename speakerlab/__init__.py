"""speakerlab: train, tune, evaluate and use speaker-recognition models."""

__version__ = "0.1.0"


class InputError(ValueError):
    """Something that the user gave is wrong.

    The message is one line: what is wrong, where, and what to do. Scripts print it without a traceback and exit with
    status 1; anything else that escapes is a fault of this program and keeps its traceback.
    """
