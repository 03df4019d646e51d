"""What of a model's calibration is for cosines, and that it comes back from plain values."""

import json

import pytest

from speakerlab import InputError
from speakerlab.cli.launch import compose
from speakerlab.inference.calibration import recipe_of
from speakerlab.inference.kept_calibration import KEY, KeptCalibration, kept_from_plain, kept_in
from speakerlab.inference.scoring import is_plain
from speakerlab.scoring.calibration import Calibration


def kept(*overrides: str) -> KeptCalibration:
    recipe = recipe_of(compose("evaluate", ["ckpt=x", *overrides])[0].scoring)
    names = ("score", *(f"{name}_low" for name in recipe["measures"]))
    return KeptCalibration(recipe, Calibration(names, (2.0,) * len(names), -1.0), {"eer": 0.5}, {"eer": 0.0}, "dev.txt")


@pytest.mark.parametrize(
    "overrides",
    [[], ["scoring.norm=s"], ["scoring.crops=5"], ["scoring.subtract_mean=true"], ["scoring=plda"], ["scoring.lda=10"]],
)
def test_of_cosines_is_what_the_scoring_calls_plain(overrides):
    scoring = compose("evaluate", ["ckpt=x", *overrides])[0].scoring
    assert kept(*overrides).of_cosines == is_plain(scoring) == (not overrides)


def test_measures_of_quality_need_more_than_a_score():
    assert not kept("scoring.measures=[duration]").of_cosines


def test_it_comes_back_through_json():
    written = kept("scoring.measures=[duration]")
    assert kept_from_plain(json.loads(json.dumps(written.plain()))) == written
    assert kept_in({KEY: written.plain()}) == written and kept_in({}) is None


@pytest.mark.parametrize("plain", [3, [], {}, {"calibration": 3}, {"calibration": {"names": 3}}, "text"])
def test_anything_else_is_refused(plain):
    with pytest.raises(InputError, match="calibration is damaged"):
        kept_from_plain(plain)
    with pytest.raises(InputError):
        kept_in({KEY: plain})
