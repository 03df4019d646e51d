"""How a machine is divided."""

import os
import stat

import pytest

from speakerlab.sweeping.hardware import shares, visible_gpus

EIGHT = [str(i) for i in range(8)]


@pytest.mark.parametrize(
    "workers, gpus, per_trial, cpus, expected",
    [
        (1, [], 1, 8, [(None, None)]),  # train.py takes what is there
        (1, EIGHT, 1, 8, [(None, None)]),
        (2, [], 1, 8, [(None, 4), (None, 4)]),
        (3, [], 1, 2, [(None, 1)] * 3),
        (2, [], 2, 8, [(None, 2), (None, 2)]),  # two processes a trial
        (2, EIGHT[:2], 1, 8, [("0", 4), ("1", 4)]),
        (3, EIGHT[:2], 1, 9, [("0", 3), ("1", 3), ("0", 3)]),
        (2, EIGHT, 2, 16, [("0,1", 8), ("2,3", 8)]),
        (2, EIGHT, None, 16, [("0,1,2,3", 8), ("4,5,6,7", 8)]),
        (2, ["GPU-a", "GPU-b"], 4, 16, [("GPU-a,GPU-b", 8)] * 2),
    ],
)
def test_shares(workers, gpus, per_trial, cpus, expected):
    assert [tuple(share) for share in shares(workers, gpus, per_trial, cpus)] == expected


def test_gpus_are_those_that_may_be_used(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-1234")
    assert visible_gpus() == ["2", "GPU-1234"]
    for none in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    program = tmp_path / "nvidia-smi"  # what it prints stands in for a machine with GPUs
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    for text, expected in [("echo 0; echo 1", ["0", "1"]), ("echo No devices were found", []), ("exit 9", [])]:
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        assert visible_gpus() == expected
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert visible_gpus() == []
