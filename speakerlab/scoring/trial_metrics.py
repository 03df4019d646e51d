"""Everything that an evaluation reports of scored trials."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from speakerlab.scoring.calibration_metrics import actual_dcf, area_under_roc, cllr, min_cllr, miss_at_false_alarm
from speakerlab.scoring.metrics import USUAL_POINTS, eer, error_rates, min_dcf, operating_point, point_name

FALSE_ALARMS = (0.01, 0.001)  # at which false rejections are reported


def trial_metrics(
    scores: ArrayLike,
    labels: ArrayLike,
    points: Iterable[str | float] = USUAL_POINTS,
    llrs: ArrayLike | None = None,
) -> dict[str, float]:
    """Metrics of scores `(trials,)` and labels `(trials,)`, by name.

    Args:
        scores: of any scale, the higher the likelier the same speaker.
        labels: 1 for the same speaker, 0 for different speakers.
        points: operating points; see `speakerlab.scoring.metrics.operating_point`.
        llrs: `(trials,)` log-likelihood ratios, where the scores have been calibrated.

    Returns:
        `eer` and its `threshold`; `min_dcf_<point>` of each point; `auc`; `frr_at_far_0.01` and `frr_at_far_0.001` (the
        share of targets rejected where that share of non-targets is accepted); `min_cllr` in bits; with `llrs`, `cllr`
        and `act_dcf_<point>`; and `targets` and `nontargets`, numbers of trials.

    Raises:
        InputError: see `speakerlab.scoring.metrics.checked_trials` and `operating_point`.

    >>> metrics = trial_metrics([0.9, 0.7, 0.4, 0.2, 0.1], [1, 1, 0, 1, 0])
    >>> round(metrics["eer"], 4), round(metrics["auc"], 4), metrics["frr_at_far_0.01"]
    (0.3333, 0.8333, 0.3333333333333333)
    """
    costs = {point_name(point): operating_point(point) for point in points}
    rates = error_rates(scores, labels)
    rate, threshold = eer(rates)
    targets = int(np.count_nonzero(np.asarray(labels) == 1))
    metrics = {"eer": rate, "threshold": threshold}
    metrics |= {f"min_dcf_{name}": min_dcf(rates, *cost)[0] for name, cost in costs.items()}
    metrics |= {"auc": area_under_roc(rates)}
    metrics |= {f"frr_at_far_{rate:g}": miss_at_false_alarm(rates, rate) for rate in FALSE_ALARMS}
    metrics |= {"min_cllr": min_cllr(rates)}
    if llrs is not None:
        metrics |= {"cllr": cllr(llrs, labels)}
        metrics |= {f"act_dcf_{name}": actual_dcf(llrs, labels, *cost) for name, cost in costs.items()}
    return metrics | {"targets": targets, "nontargets": len(labels) - targets}
