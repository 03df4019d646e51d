"""What `scoring.py` measures: routes to scores and metrics, this project's and the usual ones, and what they take."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

TRIALS, UTTERANCES, SPEAKERS, DIM = 579_818, 145_160, 1_251, 192
COHORT, TOP = 6_000, 300
DRAWS = 1_000


@dataclass(frozen=True)
class Work:
    """A row of the table.

    Attributes:
        name: of the row.
        prepare: makes what `run` takes.
        run: what is measured.
        factor: by which a part of the work is extrapolated.
        ours: name of the row that it is compared with; empty for those of this project.
        part: what was done of the whole.
    """

    name: str
    prepare: Callable[[], tuple]
    run: Callable
    factor: float = 1.0
    ours: str = ""
    part: str = ""


def embeddings() -> tuple[np.ndarray, np.ndarray]:
    """`(utterances, dim)` float32, and the speaker of each."""
    random = np.random.default_rng(0)
    speakers = np.arange(UTTERANCES) % SPEAKERS
    centres = random.standard_normal((SPEAKERS, DIM), dtype=np.float32)
    return 0.35 * centres[speakers] + random.standard_normal((UTTERANCES, DIM), dtype=np.float32), speakers


def trials() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and the rows of both sides, `(trials,)` each; one half are targets."""
    random = np.random.default_rng(1)
    labels = np.arange(TRIALS) % 2
    enrol, other = random.integers(UTTERANCES, size=(2, TRIALS))
    same = (enrol + SPEAKERS * random.integers(1, UTTERANCES // SPEAKERS, TRIALS)) % (UTTERANCES // SPEAKERS * SPEAKERS)
    test = np.where(labels == 1, np.where(same % SPEAKERS == enrol % SPEAKERS, same, enrol % SPEAKERS), other)
    labels = (enrol % SPEAKERS == test % SPEAKERS).astype(np.int8)
    return labels, enrol, test


def to_score() -> tuple:
    vectors, _ = embeddings()
    _, enrol, test = trials()
    return vectors, enrol, test


def scored() -> tuple:
    """Scores, labels, and the speakers of both sides."""
    from speakerlab.scoring.cosine import cosine_scores

    vectors, speakers = embeddings()
    labels, enrol, test = trials()
    return cosine_scores(vectors, enrol, test).astype(np.float64), labels, speakers[enrol], speakers[test]


def finer() -> tuple:
    """The same with digits beyond those of a float32 cosine, which takes longer to sort."""
    scores, *others = scored()
    return scores + 1e-12 * np.random.default_rng(3).standard_normal(len(scores)), *others


def cohort() -> tuple:
    vectors, enrol, test = to_score()
    impostors = np.random.default_rng(2).standard_normal((COHORT, DIM), dtype=np.float32)
    return vectors, enrol, test, impostors


def by_cosine(vectors: np.ndarray, enrol: np.ndarray, test: np.ndarray):
    from speakerlab.scoring.cosine import cosine_scores

    return cosine_scores(vectors, enrol, test)


def a_trial_at_a_time(vectors: np.ndarray, enrol: np.ndarray, test: np.ndarray, count: int):
    scores = []
    for one, two in zip(enrol[:count], test[:count], strict=True):
        first, second = vectors[one], vectors[two]
        scores.append(float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second))))
    return scores


def by_adaptive_norm(vectors: np.ndarray, enrol: np.ndarray, test: np.ndarray, impostors: np.ndarray):
    from speakerlab.scoring.cosine import cosine_scores
    from speakerlab.scoring.normalisation import cohort_statistics, normalise

    found = cohort_statistics(vectors, impostors, TOP)
    return normalise(cosine_scores(vectors, enrol, test), enrol, test, found)


def norm_a_trial_at_a_time(vectors: np.ndarray, enrol: np.ndarray, test: np.ndarray, impostors: np.ndarray, count: int):
    """Cohort scores of both sides anew for every trial, each sorted whole."""
    impostors = impostors / np.linalg.norm(impostors, axis=1, keepdims=True)
    scores = []
    for pair in zip(enrol[:count], test[:count], strict=True):
        first, second = (vectors[row] / np.linalg.norm(vectors[row]) for row in pair)
        sides = [np.sort(impostors @ side)[::-1][:TOP] for side in (first, second)]
        scores.append(sum((first @ second - side.mean()) / side.std() for side in sides) / 2)
    return scores


def eer_and_costs(scores: np.ndarray, labels: np.ndarray, *_: np.ndarray):
    from speakerlab.scoring.metrics import eer, error_rates, min_dcf

    rates = error_rates(scores, labels)
    return eer(rates)[0], min_dcf(rates, 0.01)[0], min_dcf(rates, 0.05)[0]


def eer_and_costs_by_roc_curve(scores: np.ndarray, labels: np.ndarray, *_: np.ndarray):
    """As evaluation scripts do it: scikit-learn's curve, its crossing by Brent's method, its cheapest point."""
    from scipy.interpolate import interp1d
    from scipy.optimize import brentq
    from sklearn.metrics import roc_curve

    false_alarm, hit, _ = roc_curve(labels, scores, drop_intermediate=False)
    rate = brentq(lambda x: 1.0 - x - interp1d(false_alarm, hit)(x), 0.0, 1.0)
    costs = [np.min(p * (1 - hit) + (1 - p) * false_alarm) / min(p, 1 - p) for p in (0.01, 0.05)]
    return rate, *costs


def eer_a_threshold_at_a_time(scores: np.ndarray, labels: np.ndarray, *_: np.ndarray, count: int):
    """The loop over thresholds, which takes the square of the number of trials."""
    own, other = scores[:count][labels[:count] == 1], scores[:count][labels[:count] == 0]
    best = (2.0, 1.0)
    for threshold in np.unique(scores[:count]):
        miss, false_alarm = (own < threshold).mean(), (other >= threshold).mean()
        best = min(best, (abs(miss - false_alarm), (miss + false_alarm) / 2))
    return best[1]


def every_metric(scores: np.ndarray, labels: np.ndarray, *_: np.ndarray):
    from speakerlab.scoring.trial_metrics import trial_metrics

    return trial_metrics(scores, labels, llrs=scores)


def every_metric_with_intervals(scores: np.ndarray, labels: np.ndarray, enrol: np.ndarray, test: np.ndarray):
    from speakerlab.scoring.bootstrap import bootstrap_metrics, interval

    drawn = bootstrap_metrics(scores, labels, enrol, test, draws=DRAWS)
    return every_metric(scores, labels), [interval(values) for values in drawn.values()]


def intervals_by_roc_curve(scores: np.ndarray, labels: np.ndarray, enrol: np.ndarray, test: np.ndarray, draws: int):
    """The same draws, each through scikit-learn's curve with weights."""
    from sklearn.metrics import roc_curve

    random, found = np.random.default_rng(0), []
    for _ in range(draws):
        times = np.bincount(random.integers(SPEAKERS, size=SPEAKERS), minlength=SPEAKERS)
        weights = np.where(labels == 1, times[enrol], times[enrol] * times[test])
        false_alarm, hit, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
        found.append(false_alarm[np.argmin(np.abs(1 - hit - false_alarm))])
    return found


COSINE, NORM, CURVE, INTERVALS = "cosine", "adaptive S-norm", "EER and both minDCF", "all metrics, with intervals"
LOOPED, NORMED, THRESHOLDS, REDRAWN = 20_000, 200, 5_798, 3
EVERY = (
    Work(COSINE, to_score, by_cosine),
    Work(
        "cosine, a trial at a time",
        to_score,
        partial(a_trial_at_a_time, count=LOOPED),
        TRIALS / LOOPED,
        COSINE,
        f"{LOOPED:,} trials of the cosine loop",
    ),
    Work(f"{NORM}, cohort {COHORT:,}, top {TOP}", cohort, by_adaptive_norm),
    Work(
        f"{NORM}, a trial at a time",
        cohort,
        partial(norm_a_trial_at_a_time, count=NORMED),
        TRIALS / NORMED,
        f"{NORM}, cohort {COHORT:,}, top {TOP}",
        f"{NORMED} trials of the loop of S-norm",
    ),
    Work(CURVE, scored, eer_and_costs),
    Work(f"{CURVE}, of scores that float32 can't hold", finer, eer_and_costs),
    Work(f"{CURVE}, scikit-learn's `roc_curve`", scored, eer_and_costs_by_roc_curve, ours=CURVE),
    Work(
        "EER, a threshold at a time",
        scored,
        partial(eer_a_threshold_at_a_time, count=THRESHOLDS),
        (TRIALS / THRESHOLDS) ** 2,
        CURVE,
        f"{THRESHOLDS:,} trials of the loop over thresholds, whose time grows with the square",
    ),
    Work("all metrics, no interval", scored, every_metric),
    Work(f"{INTERVALS} of EER and both minDCF, {DRAWS:,} draws", scored, every_metric_with_intervals),
    Work(
        f"interval of the EER alone, {DRAWS:,} draws, by `roc_curve`",
        scored,
        partial(intervals_by_roc_curve, draws=REDRAWN),
        DRAWS / REDRAWN,
        f"{INTERVALS} of EER and both minDCF, {DRAWS:,} draws",
        f"{REDRAWN} draws through `roc_curve`",
    ),
)
