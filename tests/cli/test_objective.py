"""What a run returns to a sweep, and which way is up."""

import pytest

from speakerlab import InputError
from speakerlab.cli.launch import compose
from speakerlab.cli.objective import MEASURED, check_directions, objective_values, objectives
from speakerlab.training import identification, verification


def config(*overrides: str):
    return compose("train", list(overrides))[0]


def test_the_default_is_what_the_best_checkpoint_is_chosen_by():
    assert objectives(config()) == ["eer"]
    assert objectives(config("task=identification")) == ["error_rate"]


def test_they_are_measured():
    assert set(MEASURED["verification"]) < set(verification.LOGGED)
    assert set(MEASURED["identification"]) <= set(identification.LOGGED)


def test_one_number_or_a_list():
    best = {"epoch": 3.0, "eer": 0.07, "min_dcf_0.01": 0.5}
    assert objective_values(config(), best, ()) == 0.07
    small = ["model.encoder.channels=16", "model.encoder.embed_dim=8"]
    error, cost = objective_values(config("objective=[min_dcf_0.01,parameters]", *small), best, ())
    assert error == 0.5 and 1e5 < cost < 1e6 and cost == int(cost)
    fewer = objective_values(config("objective=[macs]", "model.encoder.channels=16"), best, ())
    assert 0 < fewer < objective_values(config("objective=[macs]"), best, ())


@pytest.mark.parametrize("given", ["[err]", "[eer,accuracy]", "[]"])
def test_a_name_that_is_not_measured(given):
    with pytest.raises(InputError, match="objective: .* is none of eer, min_dcf_0.01"):
        objectives(config(f"objective={given}"))


@pytest.mark.parametrize(
    "names, directions, expected",
    [
        (["eer"], ["maximize"], r"direction=minimize, not maximize"),
        (["eer", "parameters"], ["minimize"], r"direction=\[minimize,minimize\], not minimize"),
        (["accuracy"], ["minimize"], r"direction=maximize, not minimize"),
    ],
)
def test_a_sweep_for_the_worst(names, directions, expected):
    with pytest.raises(InputError, match=expected):
        check_directions(names, directions)


def test_the_right_ways():
    check_directions(["eer", "parameters"], ["minimize", "minimize"])
    check_directions(["macro_f1", "macs"], ["maximize", "minimize"])
