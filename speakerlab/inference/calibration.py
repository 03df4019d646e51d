"""The score calibration that a checkpoint keeps: of one recipe, with thresholds in the units of its scores."""

import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from speakerlab import InputError
from speakerlab.build import load_checkpoint
from speakerlab.data.manifest import replacing
from speakerlab.data.trials import Trials
from speakerlab.inference.scoring import Scored
from speakerlab.schema import ScoringConfig
from speakerlab.scoring.calibration import Calibration, train_calibration
from speakerlab.scoring.metrics import eer, error_rates, min_dcf

log = logging.getLogger("speakerlab")
KEY = "score_calibration"  # in a checkpoint
IRRELEVANT = ("block_mb",)  # to what a score means


@dataclass(frozen=True)
class KeptCalibration:
    """What a checkpoint knows of its scores.

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


def recipe_of(scoring: ScoringConfig | DictConfig) -> dict:
    """What decides the meaning of a score."""
    plain = OmegaConf.to_container(OmegaConf.create(scoring), resolve=True)
    return {key: value for key, value in plain.items() if key not in IRRELEVANT}


def learn(scoring: ScoringConfig | DictConfig, scored: Scored, labels: np.ndarray, trials: str) -> KeptCalibration:
    """Calibrate on development trials.

    Args:
        scoring: the recipe.
        scored: what it gave.
        labels: `(trials,)`.
        trials: where the list is from.

    Raises:
        InputError: if a column is constant, or all trials are of one kind.
    """
    calibration = train_calibration(scored.table, labels, scored.names)
    llrs = calibration.llrs(scored.table)
    return KeptCalibration(
        recipe_of(scoring),
        calibration,
        operating_thresholds(scored.scores, labels),
        operating_thresholds(llrs, labels),
        trials,
    )


def operating_thresholds(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The scores from which on to accept, at the EER and where each minDCF is."""
    rates = error_rates(scores, labels)
    dcf = {f"min_dcf_{p_target:g}": min_dcf(rates, p_target)[1] for p_target in (0.01, 0.05)}
    return {"eer": eer(rates)[1], **dcf}


def keep(checkpoint: Path, kept: KeptCalibration) -> None:
    """Write a checkpoint anew with this calibration in place of what it had; a kill leaves the old one whole.

    Raises:
        InputError: if it can't be written.
    """
    contents = load_checkpoint(checkpoint) | {KEY: asdict(kept)}
    try:
        with replacing(checkpoint) as draft:
            torch.save(contents, draft)
    except (OSError, RuntimeError) as error:  # torch hides the cause, which is a full disk or a folder of others
        free = shutil.disk_usage(checkpoint.parent).free / 1e6
        raise InputError(
            f"{checkpoint}: the calibration can't be written into it ({free:.0f} MB are free there); make room, or "
            "copy the checkpoint to a folder of yours"
        ) from error


def kept_in(contents: dict) -> KeptCalibration | None:
    """The calibration in a checkpoint's contents; None where there is none."""
    plain = contents.get(KEY)
    if plain is None:
        return None
    calibration = plain["calibration"]
    weights = tuple(calibration["weights"])
    return KeptCalibration(
        **plain | {"calibration": Calibration(tuple(calibration["names"]), weights, calibration["offset"])}
    )


def kept_for(contents: dict, scoring: ScoringConfig | DictConfig) -> KeptCalibration | None:
    """The checkpoint's calibration, if it is of this recipe; what differs is told in a line."""
    kept, now = kept_in(contents), recipe_of(scoring)
    if kept is None:
        return None
    other = [
        f"scoring.{key} was {kept.recipe.get(key)} and is {now[key]}" for key in now if kept.recipe.get(key) != now[key]
    ]
    if not other:
        return kept
    log.info(
        "the checkpoint's score calibration and thresholds are of another recipe and not applied: "
        f"{', '.join(other)}; save_calibration=true makes them anew"
    )
    return None


def find_calibration(
    cfg: DictConfig, checkpoint: Path | None, scored: Scored, trials: Trials
) -> KeptCalibration | None:
    """The calibration for these scores: learned from them if that is asked for, else the checkpoint's, if it is of the
    same recipe. Lines tell which, and what errors the threshold that was kept makes on these trials; saved embeddings
    have no checkpoint."""
    if cfg.save_calibration:
        log.info(f"calibrated by these very trials, which flatters it here; kept in {checkpoint} for others")
        return learn(cfg.scoring, scored, trials.labels, trials.source)
    kept = None if checkpoint is None else kept_for(load_checkpoint(checkpoint), cfg.scoring)
    if kept is None:
        if cfg.scoring.measures:
            log.info(
                f"scoring.measures={list(cfg.scoring.measures)} has no effect without a calibration: add "
                "save_calibration=true on development trials first"
            )
        return None
    accepted, is_target = scored.scores >= kept.thresholds["eer"], trials.labels == 1
    log.info(
        f"calibrated by {kept.trials}; its EER threshold {kept.thresholds['eer']:.4f} misses "
        f"{100 * np.mean(~accepted[is_target]):.2f} % of the targets here and accepts "
        f"{100 * np.mean(accepted[~is_target]):.2f} % of the non-targets"
    )
    return kept
