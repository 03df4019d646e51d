"""How far an export's embeddings and scores are from those of the network it was made of."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from speakerlab.inference.export.specimens import Specimens
from speakerlab.scoring.cosine import cosine_scores
from speakerlab.scoring.metrics import eer, error_rates

Embed = Callable[[list[np.ndarray]], np.ndarray]  # waveforms (samples,) each -> (waveforms, embed_dim)


@dataclass(frozen=True)
class Drift:
    """What became of the cosine scores.

    Attributes:
        largest, mean: of the absolute differences.
        pairs: that were scored.
        recordings: what they are, in words.
        eer, eer_exact: equal error rates (fractions) of the export and of the network; None where nobody said which
            pairs are of one speaker.
    """

    largest: float
    mean: float
    pairs: int
    recordings: str
    eer: float | None = None
    eer_exact: float | None = None

    def plain(self) -> dict[str, float | int | str]:
        """For JSON: without what is not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def lines(self) -> list[str]:
        """To print."""
        told = [
            f"score drift  {self.largest:.5f} at most, {self.mean:.5f} on average: cosine of {self.pairs:,} pairs of "
            f"{self.recordings}"
        ]
        if self.eer is not None:
            told.append(f"EER          {100 * self.eer:.2f} %, and {100 * self.eer_exact:.2f} % before")
        return told


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest distance between rows `(waveforms, embed_dim)`, as a fraction of the expected row's length: the
    cosine with anything differs by no more."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    distances = np.linalg.norm(found - expected, axis=1)
    return float((distances / np.linalg.norm(expected, axis=1)).max())


def measure_drift(found: np.ndarray, expected: np.ndarray, specimens: Specimens) -> Drift:
    """Of the scores of the specimens' pairs.

    Args:
        found: embeddings `(waveforms, embed_dim)` of the export.
        expected: of the network.
        specimens: whose embeddings they are.
    """
    enrol, test = specimens.pairs.T
    scores, exact = (cosine_scores(rows.astype(np.float64), enrol, test) for rows in (found, expected))
    differences = np.abs(scores - exact)
    rates = [None, None]
    if specimens.labels is not None:
        rates = [eer(error_rates(each, specimens.labels))[0] for each in (scores, exact)]
    return Drift(float(differences.max()), float(differences.mean()), len(enrol), specimens.origin, *rates)
