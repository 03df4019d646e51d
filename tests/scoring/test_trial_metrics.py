"""All of an evaluation's metrics together, against scikit-learn, loops and the functions that they come from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from speakerlab import InputError
from speakerlab.scoring.calibration_metrics import actual_dcf, cllr
from speakerlab.scoring.metrics import verification_metrics
from speakerlab.scoring.trial_metrics import trial_metrics

UNCALIBRATED = [
    *("eer", "threshold", "min_dcf_0.01", "min_dcf_0.05", "auc", "frr_at_far_0.01", "frr_at_far_0.001", "min_cllr"),
    *("targets", "nontargets"),
]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 1)), min_size=2, max_size=40), st.sampled_from([1, 0, 0.1])
)
def test_random_tied_constant_and_tiny_lists(pairs, scale):
    scores, labels = scale * np.array([s for s, _ in pairs], float), np.array([label for _, label in pairs])
    if len(set(labels)) == 1:
        with pytest.raises(InputError, match="trials; error rates need"):
            trial_metrics(scores, labels)
        return
    metrics = trial_metrics(scores, labels)
    assert list(metrics) == UNCALIBRATED
    for name, value in verification_metrics(scores, labels).items():
        assert metrics[name] == value
    assert metrics["auc"] == pytest.approx(roc_auc_score(labels, scores))
    if scale == 0:
        assert (metrics["eer"], metrics["auc"]) == (0.5, 0.5) and metrics["min_cllr"] == pytest.approx(1)
    for far in (0.01, 0.001):  # under 100 non-targets: none may be accepted
        highest = scores[labels == 0].max()
        assert metrics[f"frr_at_far_{far}"] == pytest.approx((scores[labels == 1] <= highest).mean())


def test_log_likelihood_ratios_and_named_points():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 500)
    llrs = rng.normal(size=500) + 2 * labels - 1
    metrics = trial_metrics(llrs / 9, labels, ("voxsrc", 0.01, "sre08"), llrs=llrs)
    costs = [f"{kind}_dcf_{point}" for kind in ("min", "act") for point in ("voxsrc", "0.01", "sre08")]
    assert [name for name in metrics if "dcf" in name] == costs
    assert metrics["min_dcf_voxsrc"] == trial_metrics(llrs, labels)["min_dcf_0.05"]
    assert metrics["act_dcf_voxsrc"] == actual_dcf(llrs, labels, 0.05)
    assert metrics["act_dcf_sre08"] == actual_dcf(llrs, labels, 0.01, 10, 1) >= metrics["min_dcf_sre08"]
    assert metrics["cllr"] == cllr(llrs, labels) > metrics["min_cllr"] > 0
    assert metrics["eer"] == pytest.approx(trial_metrics(llrs, labels)["eer"])
    assert all(type(value) in (int, float) for value in metrics.values())  # as JSON and CSV want them
    with pytest.raises(InputError, match="operating point vox"):
        trial_metrics(llrs, labels, ("vox",))
