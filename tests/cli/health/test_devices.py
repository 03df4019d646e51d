"""Devices that compute, and one that does not; drivers without a GPU to use."""

import os

import pytest
import torch

from speakerlab.cli.health import devices


def test_the_processor_computes():
    assert devices.tried("CPU", torch.device("cpu"), "two cores")[1:] == ("CPU", "good", "two cores", "")


def test_a_device_that_can_not_compute():
    """`meta` tensors have no values."""
    found = devices.tried("GPU 0", torch.device("meta"), "a card")
    assert found.state == "broken" and found.text.startswith("a card; can't compute: ") and found.mend


def test_a_device_that_computes_wrongly(monkeypatch):
    original = torch.Tensor.__matmul__
    monkeypatch.setattr(
        torch.Tensor, "__matmul__", lambda a, b: original(a, b) * (1.5 if a.dtype == torch.bfloat16 else 1)
    )
    found = devices.tried("GPU 0", torch.device("cpu"), "a card")
    assert found.state == "broken" and "torch.bfloat16 products are off by" in found.text


@pytest.mark.parametrize(
    "cuda, driver, state, said",
    [
        (None, None, "good", "none"),
        ("12.8", None, "good", "none"),
        (None, "NVIDIA 550", "doubtful", "torch is a build for CPUs"),
        ("12.8", "NVIDIA 470", "doubtful", "torch can't use it (NVIDIA 470)"),
    ],
)
def test_no_gpu(cuda, driver, state, said):
    found = devices.without_gpu(cuda, driver)
    assert found.state == state and said in found.text and bool(found.mend) == (state == "doubtful")


def test_the_driver(tmp_path):
    assert devices.nvidia_driver(tmp_path / "none") is None
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54\nGCC version: 12\n")
    assert devices.nvidia_driver(tmp_path / "version") == "NVIDIA UNIX x86_64 Kernel Module  550.54"


def test_memory(tmp_path, monkeypatch):
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(devices, "CGROUP_LIMITS", (str(tmp_path / "max"), str(tmp_path / "none")))
    (tmp_path / "max").write_text("max\n")
    assert devices.memory().text == f"{pages / 1e9:.1f} GB"
    (tmp_path / "max").write_text("2000000000\n")
    found = devices.memory()
    assert (found.state, found.text) == ("doubtful", "2.0 GB") and "sampler.batch_size=" in found.mend
