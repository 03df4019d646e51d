"""What `precision: auto` becomes on machines that are not here."""

import subprocess
import sys

import pytest
import torch
from processes import ROOT

from speakerlab import InputError
from speakerlab.training import hardware
from speakerlab.training.hardware import (
    check_compiler,
    check_devices,
    has_gpu,
    prepare_cpu,
    resolve_channels_last,
    resolve_precision,
)


@pytest.fixture
def machine(monkeypatch):
    """Sets what the machine has."""

    def pretend(gpu: bool = False, gpu_bf16: bool = False, avx512: bool = False, amx: bool = False) -> None:
        def is_bf16_supported(including_emulation=True):
            return gpu_bf16 or including_emulation  # emulated on every GPU, and slow

        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
        monkeypatch.setattr(hardware.torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
        monkeypatch.setattr(hardware.torch.cpu, "_is_amx_tile_supported", lambda: amx)

    return pretend


@pytest.mark.parametrize(
    "has, accelerator, expected",
    [
        ({"gpu": True, "gpu_bf16": True}, "auto", "bf16-mixed"),
        ({"gpu": True, "gpu_bf16": True}, "gpu", "bf16-mixed"),
        ({"gpu": True}, "auto", "16-mixed"),
        ({"gpu": True}, "cuda", "16-mixed"),
        ({"gpu": True, "gpu_bf16": True}, "cpu", "32-true"),
        ({"gpu": True, "amx": True}, "cpu", "bf16-mixed"),
        ({}, "auto", "32-true"),
        ({"avx512": True}, "auto", "bf16-mixed"),
        ({"amx": True}, "cpu", "bf16-mixed"),
    ],
)
def test_auto(machine, has, accelerator, expected):
    machine(**has)
    assert resolve_precision("auto", accelerator) == expected


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("gpu", [True, False])
def test_what_is_asked_for_stays(machine, gpu, precision):
    machine(gpu=gpu)
    assert resolve_precision(precision, "auto") == precision


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "16-true", "fp8"])
def test_other_precisions_are_refused(machine, precision):
    machine(gpu=True)
    with pytest.raises(InputError, match=f"trainer.precision={precision} must be one of auto, 32-true"):
        resolve_precision(precision, "auto")


def test_fp16_needs_a_gpu(machine):
    precision = "16-mixed"
    machine()
    with pytest.raises(InputError, match=f"trainer.precision={precision} needs a GPU"):
        resolve_precision(precision, "auto")
    machine(gpu=True)
    assert resolve_precision(precision, "auto") == precision
    with pytest.raises(InputError, match="needs a GPU"):
        resolve_precision(precision, "cpu")


@pytest.mark.parametrize("accelerator, expected", [("auto", True), ("gpu", True), ("cuda", True), ("cpu", False)])
def test_has_gpu(machine, accelerator, expected):
    machine(gpu=True)
    assert has_gpu(accelerator) == expected
    machine(gpu=False)
    assert not has_gpu(accelerator)


@pytest.mark.parametrize(
    "devices, accelerator, gpu, expected",
    [
        (1, "tpu", False, "trainer.accelerator=tpu must be one of auto, cpu"),
        (5, "cpu", True, "trainer.devices=5 must be at most 4"),
        ("5", "auto", False, "trainer.devices=5 must be at most 4"),
        (5, "auto", True, None),  # GPUs are counted by Lightning
        (4, "cpu", False, None),
        (-1, "gpu", True, None),
        ([0, 1], "gpu", True, None),
    ],
)
def test_devices_that_are_not_here(machine, monkeypatch, devices, accelerator, gpu, expected):
    machine(gpu=gpu)
    monkeypatch.setattr(hardware, "usable_cpus", lambda: 4)
    if expected is None:
        return check_devices(devices, accelerator)
    with pytest.raises(InputError, match=expected):
        check_devices(devices, accelerator)


@pytest.mark.parametrize(
    "gpu, accelerator, precision, expected",
    [
        (False, "auto", "32-true", True),
        (False, "cpu", "bf16-mixed", True),
        (True, "cpu", "32-true", True),
        (True, "auto", "32-true", False),  # tensor cores multiply 16 bits
        (True, "auto", "16-mixed", True),
        (True, "gpu", "bf16-mixed", True),
        (False, "mps", "32-true", False),
    ],
)
def test_channels_last_where_it_is_faster(machine, gpu, accelerator, precision, expected):
    machine(gpu=gpu)
    assert resolve_channels_last(None, precision, accelerator) is expected
    assert resolve_channels_last(True, precision, accelerator) and not resolve_channels_last(False, precision, "cpu")


def test_compiling_needs_a_compiler(monkeypatch, tmp_path):
    for compile_encoder in (True, False, None):
        check_compiler(compile_encoder)
    monkeypatch.setenv("PATH", str(tmp_path))
    check_compiler(False)
    check_compiler(None)
    with pytest.raises(InputError, match=r"^compile=true needs a C\+\+ compiler \(g\+\+, clang\+\+\)"):
        check_compiler(True)
    (tmp_path / "mine").touch(mode=0o755)
    monkeypatch.setenv("CXX", "mine")
    check_compiler(True)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_kept_unless_that_is_switched_off():
    """Page faults of taking 64 MB again and again, in a process whose allocator nobody has set."""
    code = """
import resource, torch
from speakerlab.training.hardware import prepare_cpu

for keep in (False, True):
    prepare_cpu(1, keep_memory=keep)
    for _ in range(10):
        torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert given_back > 1000 and kept < 100


def test_threads():
    before = torch.get_num_threads()
    try:
        prepare_cpu(1)
        assert torch.get_num_threads() == 1
        prepare_cpu(None)
        assert torch.get_num_threads() == 1
        tiny = torch.tensor(1e-39) * 0.5
        assert tiny.item() == 0.0  # denormals are flushed
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)
    with pytest.raises(InputError, match="threads=0 must be at least 1"):
        prepare_cpu(0)
