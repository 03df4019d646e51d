"""From embeddings to scores, as the config's group `scoring` says."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

from speakerlab import InputError
from speakerlab.data.manifest import MANIFEST
from speakerlab.data.trials import Trials
from speakerlab.data.utterances import Utterances
from speakerlab.inference.crops import CroppedNetwork
from speakerlab.inference.embedding import Embed, ProgressBar
from speakerlab.inference.material import Known, Material, trains
from speakerlab.inference.pair_scoring import pair_scores
from speakerlab.schema import ScoringConfig
from speakerlab.scoring.backend import KINDS, Averaged, Backend, train_backend
from speakerlab.scoring.normalisation import KINDS as NORMS
from speakerlab.scoring.normalisation import normalise
from speakerlab.scoring.products import product_statistics, trial_products
from speakerlab.scoring.quality import MEASURES, quality_columns
from speakerlab.scoring.speaker_statistics import speaker_means
from speakerlab.shipped import CONF, nearest

PAIR_MLP = "pair_mlp"  # a back end that a checkpoint has
BACKENDS = (*KINDS, PAIR_MLP)
# Settings that are in a recipe's name where they are not the default's, and not otherwise.
FURTHER = ("train", "cohort", "cohort_means", "cohort_size", "utterances_per_speaker", "measures", "seed")


@dataclass(frozen=True)
class Scored:
    """Scores of a list.

    Attributes:
        scores: `(trials,)`.
        measures: of quality: name -> `(trials,)`.
    """

    scores: np.ndarray
    measures: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns of `table`."""
        return ("score", *self.measures)

    @property
    def table(self) -> np.ndarray:
        """`(trials, columns)`, what a calibration takes."""
        return np.stack([self.scores, *self.measures.values()], axis=1).astype(np.float64)


def check_scoring(scoring: ScoringConfig | DictConfig) -> None:
    """Refuse a recipe that makes no sense, before anything is loaded.

    Raises:
        InputError: naming the key, and what it may be.
    """
    for name, known in (("backend", BACKENDS), ("norm", ("none", *NORMS))):
        if scoring[name] not in known:
            raise InputError(
                f"scoring.{name}={scoring[name]} must be one of {', '.join(known)}{nearest(scoring[name], list(known))}"
            )
    lowest = {"lda": 1, "top_n": 2, "cohort_size": 2, "utterances_per_speaker": 1, "crops": 0, "block_mb": 1}
    for name, least in lowest.items():
        if scoring[name] is not None and scoring[name] < least:
            raise InputError(f"scoring.{name}={scoring[name]} must be at least {least}")
    if not 0.1 <= scoring.crop_seconds < np.inf:
        raise InputError(f"scoring.crop_seconds={scoring.crop_seconds} must be at least 0.1")
    if not (scoring.crops or scoring.whole):
        raise InputError("scoring.whole=false leaves nothing to score: give scoring.crops=10 or the like")
    _check_measures(scoring)
    _check_goes_together(scoring)


def _check_measures(scoring: ScoringConfig | DictConfig) -> None:
    for name in scoring.measures:
        if name not in MEASURES:
            raise InputError(
                f"scoring.measures: {name} must be one of {', '.join(MEASURES)}{nearest(name, [*MEASURES])}"
            )
    if "cohort_mean" in scoring.measures and scoring.norm == "none":
        raise InputError("scoring.measures: cohort_mean needs a cohort: add scoring.norm=s")
    if "magnitude" in scoring.measures and scoring.crops:
        raise InputError("scoring.measures: magnitude is of whole utterances' embeddings: take scoring.crops=0")


def _check_goes_together(scoring: ScoringConfig | DictConfig) -> None:
    if scoring.crops and trains(scoring):
        raise InputError(
            f"scoring.crops={scoring.crops} averages cosines: with it, take scoring.backend=cosine and neither "
            "subtract_mean nor lda nor wccn"
        )
    if scoring.backend == PAIR_MLP and (trains(scoring) or scoring.crops or scoring.norm != "none"):
        raise InputError(
            "scoring.backend=pair_mlp decides on two embeddings as they are: with it, take scoring.norm=none, "
            "scoring.crops=0 and neither subtract_mean nor lda nor wccn"
        )
    for name in ("top_n", "cohort"):
        if scoring[name] is not None and scoring.norm == "none":
            raise InputError(f"scoring.{name}={scoring[name]} is for a normalisation: add scoring.norm=s")
    if scoring.train is not None and not trains(scoring):
        raise InputError(f"scoring.train={scoring.train}: nothing in this recipe is trained; add scoring.backend=plda")


def is_plain(scoring: ScoringConfig | DictConfig) -> bool:
    """Whether scores are cosines of whole utterances' embeddings as they are."""
    return scoring.backend == "cosine" and not (trains(scoring) or scoring.crops or scoring.norm != "none")


def recipe_name(scoring: ScoringConfig | DictConfig) -> str:
    """A short name of what is not plain, so that one recipe's files do not take the place of another's: "",
    "asnorm300", "lda100_plda", "asnorm300_cohort-vox2", "whole_5crops4s" ..."""
    adaptive = "" if scoring.top_n is None else "a"
    parts = {
        f"{'whole_' if scoring.whole else ''}{scoring.crops}crops{scoring.crop_seconds:g}s": scoring.crops > 0,
        "centred": scoring.subtract_mean,
        f"lda{scoring.lda}": scoring.lda is not None,
        "wccn": scoring.wccn,
        "plda": scoring.backend == "plda",
        PAIR_MLP: scoring.backend == PAIR_MLP,
        f"{adaptive}{scoring.norm}norm{scoring.top_n or ''}": scoring.norm != "none",
    }
    plain = OmegaConf.load(CONF / "scoring" / "cosine.yaml")
    further = [f"{key}-{_short(scoring[key])}" for key in FURTHER if scoring[key] != plain[key]]
    return "_".join([*(part for part, there in parts.items() if there), *further])


def _short(value: object) -> str:
    """A setting's value as part of a file's name; of a path its last telling part."""
    if isinstance(value, str):
        path = Path(value)
        value = path.absolute().parent.name if path.name == MANIFEST else path.stem
    elif isinstance(value, Sequence | ListConfig):
        value = "+".join(value)
    return re.sub(r"[^\w.+-]+", "-", str(value))


def scored_network(network: nn.Module, scoring: ScoringConfig | DictConfig, sample_rate: int) -> nn.Module:
    """The network that gives the rows to score: of whole utterances, or averaged over crops."""
    if not scoring.crops:
        return network
    samples = round(scoring.crop_seconds * sample_rate)
    return CroppedNetwork(network, scoring.crops, samples, sample_rate, scoring.whole)


def score(
    scoring: ScoringConfig | DictConfig,
    trials: Trials,
    utterances: Utterances,
    embeddings: np.ndarray,
    material: Material,
    embed: Embed,
    progress_bar: ProgressBar,
) -> Scored:
    """Scores of a list; beside the embeddings, some `scoring.block_mb` of memory.

    Args:
        scoring: the config's group, checked.
        trials: the list.
        utterances: of the list; measured where their durations count.
        embeddings: `(utterances, dim)` theirs.
        material: as `find_material` gives it.
        embed: gave the embeddings, and gives those of the material.
        progress_bar: makes a progress bar of a description.

    Raises:
        InputError: if the cohort or the training data is too small for the recipe.
    """
    block_bytes = scoring.block_mb * 2**20
    values = _measures(scoring, utterances, embeddings)
    if scoring.backend == PAIR_MLP:
        scores = pair_scores(material.pair_mlp, embeddings, trials.enrol, trials.test, block_bytes)
        return Scored(scores, quality_columns(values, trials.enrol, trials.test))
    trained = None if material.train is None else _embedded(material.train, embed)
    backend = _backend(scoring, material.train, trained)
    left, right = backend.sides(embeddings)
    scores = trial_products(left, right, trials.enrol, trials.test, block_bytes=block_bytes)
    if scoring.backend == "cosine":
        scores.clip(-1.0, 1.0, out=scores)  # rounding may leave it
    if scoring.norm != "none":
        cohort = backend.sides(_cohort(scoring, material, trained, embed))[1]
        if scoring.top_n is not None and scoring.top_n > len(cohort):
            raise InputError(
                f"scoring.top_n={scoring.top_n}: the cohort has {len(cohort)} impostors; take fewer of them, or "
                "all by scoring.top_n=null"
            )
        with progress_bar("scores against the cohort") as progress:
            statistics = product_statistics(left, cohort, scoring.top_n, block_bytes, progress)
        scores = normalise(scores, trials.enrol, trials.test, statistics, scoring.norm)
        values["cohort_mean"] = statistics[0]
    wanted = {name: values[name] for name in scoring.measures}
    return Scored(scores, quality_columns(wanted, trials.enrol, trials.test))


def _measures(
    scoring: ScoringConfig | DictConfig, utterances: Utterances, embeddings: np.ndarray
) -> dict[str, np.ndarray]:
    """Of each utterance, `(utterances,)`, what the recipe asks for and no cohort is needed for."""
    values = {}
    if "duration" in scoring.measures:
        values["duration"] = np.log(_seconds(utterances))
    if "magnitude" in scoring.measures:
        values["magnitude"] = np.linalg.norm(embeddings, axis=1)
    return values


def _backend(
    scoring: ScoringConfig | DictConfig, train: Known | None, embeddings: np.ndarray | None
) -> Backend | Averaged:
    if scoring.crops:
        return Averaged()
    if train is None:
        return Backend()
    try:
        return train_backend(
            embeddings, train.classes, scoring.backend, scoring.subtract_mean, scoring.lda, scoring.wccn
        )
    except InputError as error:
        raise InputError(f"scoring.{error}") from error


def _cohort(
    scoring: ScoringConfig | DictConfig, material: Material, trained: np.ndarray | None, embed: Embed
) -> np.ndarray:
    """Embeddings of the impostors, `(impostors, dim)`."""
    if trained is not None and material.within_train is not None:
        rows = trained[material.within_train]
    else:
        rows = _embedded(material.cohort, embed)
    return speaker_means(rows, material.cohort.classes).astype(rows.dtype) if scoring.cohort_means else rows


def _embedded(known: Known, embed: Embed) -> np.ndarray:
    return (known.saved or embed)(known.utterances)


def _seconds(utterances: Utterances) -> np.ndarray:
    if utterances.files is None and np.isnan(utterances.seconds).any():
        raise InputError("scoring.measures: duration needs audio, which saved embeddings come without")
    return utterances.measured(np.arange(len(utterances)))
