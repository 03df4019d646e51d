"""What one who opens the page may ask of the machine."""

from dataclasses import dataclass

from speakerlab import InputError
from speakerlab.inference.pieces import PIECE_SECONDS

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Bounds that hold whatever a browser sends.

    Attributes:
        megabytes: of an uploaded file.
        seconds: of a recording.
        per_minute: uploads and questions of one address.
        files: that are enrolled at once.
        kept_seconds: after which an uploaded file is deleted.
        folder_megabytes: of all uploaded files together.

    Raises:
        InputError: if a number is out of range.
    """

    megabytes: float = 25.0
    seconds: float = 120.0
    per_minute: int = 60
    files: int = 20
    kept_seconds: float = 600.0
    folder_megabytes: float = 1000.0

    def __post_init__(self):
        for name, lowest, highest in (
            ("megabytes", 0.01, 1000.0),
            ("seconds", 1.0, PIECE_SECONDS),
            ("per_minute", 1, 100_000),
            ("files", 1, 1000),
            ("kept_seconds", 1.0, 86_400.0),
            ("folder_megabytes", self.megabytes, 1e6),
        ):
            if not lowest <= getattr(self, name) <= highest:
                raise InputError(f"{name}={getattr(self, name)} must lie in {lowest:g} to {highest:g}")
