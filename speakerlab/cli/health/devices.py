"""What computes: the processor and the GPUs, tried with a product of matrices in each precision."""

import os
from contextlib import suppress
from pathlib import Path

from speakerlab.cli.health.finding import BROKEN, DOUBTFUL, GOOD, Finding, reason
from speakerlab.data import usable_cpus

ENOUGH_MEMORY = 4e9  # bytes
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def look() -> list[Finding]:
    """The processor, its memory, and each GPU."""
    import torch

    from speakerlab.cli.models import processor
    from speakerlab.training.hardware import cpu_multiplies_bfloat16

    native = "has bf16 instructions" if cpu_multiplies_bfloat16() else "no bf16 instructions: float32 is quicker here"
    name = f"{processor()}, {usable_cpus()} cores to use"
    found = [tried("CPU", torch.device("cpu"), f"{name}, {native}"), memory()]
    if torch.cuda.is_available():
        return found + [gpu(index) for index in range(torch.cuda.device_count())]
    return [*found, without_gpu(torch.version.cuda, nvidia_driver())]


def tried(name: str, device, text: str) -> Finding:
    """A finding about a device after products in float32 and bfloat16 came out right, or did not."""
    import torch

    left = torch.linspace(-1, 1, 64 * 64).reshape(64, 64)
    expected = left.double() @ left.double().T
    for dtype, most in ((torch.float32, 0.1), (torch.bfloat16, 1.0)):
        try:
            product = (left.to(device, dtype) @ left.to(device, dtype).T).double().cpu()
            off = (product - expected).abs().max().item()
        except RuntimeError as error:
            mend = "install the build of torch for this device: https://pytorch.org/get-started"
            return Finding("devices", name, BROKEN, f"{text}; can't compute: {reason(error)}", mend)
        if not off < most:
            mend = "the device or its driver is at fault: try the other devices with device=..."
            return Finding("devices", name, BROKEN, f"{text}; {dtype} products are off by {off:g}", mend)
    return Finding("devices", name, GOOD, text)


def gpu(index: int) -> Finding:
    """A GPU's name, memory and precision."""
    import torch

    name, device = f"GPU {index}", torch.device("cuda", index)
    try:
        properties = torch.cuda.get_device_properties(device)
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError as error:
        return Finding("devices", name, BROKEN, reason(error), "see what nvidia-smi says of it")
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    precision = "bf16" if native else "no bf16: trains in fp16"
    text = f"{properties.name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, {precision}"
    return tried(name, device, f"{text}, CUDA {torch.version.cuda}")


def without_gpu(cuda: str | None, driver: str | None) -> Finding:
    """No GPU is usable: whether that is as it should be.

    Args:
        cuda: that torch was built with; None is a build for CPUs.
        driver: NVIDIA's, if this machine has one.
    """
    if driver is None:
        return Finding("devices", "GPU", GOOD, "none")
    if cuda is None:
        return Finding(
            "devices", "GPU", DOUBTFUL, "there is one, but torch is a build for CPUs", "install torch's build for CUDA"
        )
    mend = f"the driver must know CUDA {cuda}: update it, and see that this process may use /dev/nvidia*"
    return Finding("devices", "GPU", DOUBTFUL, f"there is one, but torch can't use it ({driver})", mend)


def nvidia_driver(place: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """NVIDIA's driver, if one is loaded."""
    try:
        return place.read_text().splitlines()[0].removeprefix("NVRM version: ").strip()
    except (OSError, IndexError):
        return None


def memory() -> Finding:
    """Main memory, or what a container allows of it."""
    total = _total_memory()
    if total is None:
        return Finding("devices", "memory", GOOD, "unknown")
    if total < ENOUGH_MEMORY:
        mend = "use smaller batches (sampler.batch_size=) and fewer workers (loader.num_workers=)"
        return Finding("devices", "memory", DOUBTFUL, f"{total / 1e9:.1f} GB", mend)
    return Finding("devices", "memory", GOOD, f"{total / 1e9:.1f} GB")


def _total_memory() -> float | None:
    limits = []
    with suppress(OSError, ValueError, AttributeError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for place in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # there is none, or "max"
            limits.append(int(Path(place).read_text()))
    return min(limits, default=None)
