"""The score calibration that goes with a model: of one recipe, with thresholds in the units of its scores."""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from speakerlab import InputError
from speakerlab.scoring.calibration import Calibration

KEY = "score_calibration"  # in a checkpoint


@dataclass(frozen=True)
class KeptCalibration:
    """What a model knows of its scores.

    Attributes:
        recipe: the config's group `scoring`, by which the trials were scored.
        calibration: scores, and measures of quality, to log-likelihood ratios.
        thresholds: in the units of the scores: at the EER and at both minDCF.
        llr_thresholds: the same on the ratios.
        trials: the list that all this was learned on.
    """

    recipe: dict
    calibration: Calibration
    thresholds: dict[str, float]
    llr_thresholds: dict[str, float]
    trials: str

    @property
    def of_cosines(self) -> bool:
        """Whether it is of plain cosines alone, which need nothing but two embeddings."""
        recipe = self.recipe
        plain = recipe.get("backend") == "cosine" and recipe.get("norm") == "none"
        further = ("crops", "subtract_mean", "lda", "wccn", "measures")
        return plain and not any(recipe.get(key) for key in further) and len(self.calibration.weights) == 1

    def without_paths(self) -> "KeptCalibration":
        """To hand on: lists and manifests by their names, not by where they lie on this machine."""
        files = {
            key: Path(self.recipe[key]).name for key in ("train", "cohort") if isinstance(self.recipe.get(key), str)
        }
        return replace(self, recipe=self.recipe | files, trials=Path(self.trials).name)

    def plain(self) -> dict:
        """As dicts, lists and numbers, for a checkpoint or JSON."""
        return asdict(self)


def kept_from_plain(plain: Any) -> KeptCalibration:
    """Undo `KeptCalibration.plain`.

    Raises:
        InputError: for anything else, and for numbers that are none.
    """
    try:
        calibration = plain["calibration"]
        names, weights = tuple(map(str, calibration["names"])), tuple(map(float, calibration["weights"]))
        offset, recipe, trials = float(calibration["offset"]), plain["recipe"], plain["trials"]
        thresholds, llr_thresholds = (
            {str(name): float(value) for name, value in plain[key].items()} for key in ("thresholds", "llr_thresholds")
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError("the model's score calibration is damaged, or of another version of speakerlab") from error
    numbers = (*weights, offset, *thresholds.values(), *llr_thresholds.values())
    whole = len(names) == len(weights) > 0 and isinstance(recipe, dict) and isinstance(trials, str)
    if not whole or "eer" not in thresholds or not all(map(math.isfinite, numbers)):
        raise InputError("the model's score calibration is damaged: its numbers make no sense")
    return KeptCalibration(recipe, Calibration(names, weights, offset), thresholds, llr_thresholds, trials)


def kept_in(contents: dict) -> KeptCalibration | None:
    """The calibration in a checkpoint's contents; None where there is none."""
    plain = contents.get(KEY)
    return None if plain is None else kept_from_plain(plain)
