"""The score calibration that a checkpoint keeps: learned, written and found again by recipe."""

import logging
import shutil
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from speakerlab import InputError
from speakerlab.build import load_checkpoint
from speakerlab.data.manifest import replacing
from speakerlab.data.trials import Trials
from speakerlab.inference.kept_calibration import KEY, KeptCalibration, kept_in
from speakerlab.inference.scoring import Scored
from speakerlab.schema import ScoringConfig
from speakerlab.scoring.calibration import train_calibration
from speakerlab.scoring.metrics import eer, error_rates, min_dcf

log = logging.getLogger("speakerlab")
IRRELEVANT = ("block_mb",)  # to what a score means


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
    contents = load_checkpoint(checkpoint) | {KEY: kept.plain()}
    try:
        with replacing(checkpoint) as draft:
            torch.save(contents, draft)
    except (OSError, RuntimeError) as error:  # torch hides the cause, which is a full disk or a folder of others
        free = shutil.disk_usage(checkpoint.parent).free / 1e6
        raise InputError(
            f"{checkpoint}: the calibration can't be written into it ({free:.0f} MB are free there); make room, or "
            "copy the checkpoint to a folder of yours"
        ) from error


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
