"""A run's folder, written by hand."""

import json
import signal

import pytest

from speakerlab.sweeping.measurements import LONGEST, OUTPUT, measured, values_of, why_it_ended


@pytest.fixture
def run(tmp_path):
    (tmp_path / "metrics").mkdir()
    lines = ["epoch,step,eer,min_dcf_0.01", "1,3,0.4,0.9", "2,6,0.25,0.95", "3,9,0.3,0.7"]
    (tmp_path / "metrics" / "val_metrics.csv").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "environment.json").write_text(json.dumps({"parameters": 1234}))
    return tmp_path


def test_measurements_are_read_while_they_are_written(run, tmp_path):
    with open(run / "metrics" / "val_metrics.csv", "a") as file:
        file.write("4,12,0.")
    assert [(row["epoch"], row["eer"]) for row in measured(run)] == [(1, 0.4), (2, 0.25), (3, 0.3)]
    assert measured(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "objectives, directions, expected",
    [
        (["eer"], ["minimize"], [0.25]),
        (["min_dcf_0.01"], ["minimize"], [0.7]),
        (["eer", "min_dcf_0.01"], ["minimize", "minimize"], [0.25, 0.95]),  # of one epoch
        (["eer", "parameters"], ["minimize", "minimize"], [0.25, 1234]),
        (["parameters", "eer"], ["minimize", "minimize"], [1234, 0.25]),
        (["eer"], ["maximize"], [0.4]),
    ],
)
def test_values_are_those_of_the_best_epoch(run, objectives, directions, expected):
    assert values_of(run, objectives, directions) == expected


def test_what_was_not_measured_has_no_value(run, tmp_path):
    with pytest.raises(LookupError, match="measured no accuracy but epoch, step, eer"):
        values_of(run, ["accuracy"], ["maximize"])
    with pytest.raises(LookupError, match="without a development measurement"):
        values_of(tmp_path / "nowhere", ["eer"], ["minimize"])


@pytest.mark.parametrize(
    "output, status, expected",
    [
        ("reading\nerror: loss: margin=4 must be below pi\n", 1, "loss: margin=4 must be below pi"),
        ("Traceback\n  File\nValueError: wrong\n", 1, "ValueError: wrong"),
        (
            "Traceback\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\nsome advice\n",
            1,
            "out of memory: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
        ),
        (
            "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.\n\n",
            1,
            "out of memory: RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.",
        ),
        ("epoch 1/2\n", -signal.SIGKILL, "killed from outside, as the system does when memory is short"),
        ("stopped and kept\n", 128 + signal.SIGTERM, "asked to stop by SIGTERM"),
        ("epoch 1/2\n", -signal.SIGSEGV, "ended by SIGSEGV"),
        ("", 3, "ended with status 3 and said nothing"),
        ("x" * 1000, 1, "x" * (LONGEST - 1) + "…"),
    ],
)
def test_the_reason_is_one_line(tmp_path, output, status, expected):
    (tmp_path / OUTPUT).parent.mkdir()
    (tmp_path / OUTPUT).write_text(output)
    assert why_it_ended(tmp_path, status) == expected


def test_the_last_of_several_tries_gives_the_reason(tmp_path):
    """A trial that goes on adds to the output of its first try, however long that is."""
    (tmp_path / OUTPUT).parent.mkdir()
    (tmp_path / OUTPUT).write_text("error: old\n" + "epoch\n" * 50000 + "error: new\n")
    assert why_it_ended(tmp_path, 1) == "new"
