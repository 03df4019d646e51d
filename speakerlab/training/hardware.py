"""What the machine offers: precision, threads, and an allocator that does not give memory back at every step."""

import ctypes
import os
import shutil
import sys
from typing import TYPE_CHECKING

import torch

from speakerlab import InputError
from speakerlab.data import usable_cpus

if TYPE_CHECKING:  # Lightning takes seconds, which data workers would wait for
    import pytorch_lightning as pl
    from omegaconf import DictConfig

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # glibc's mallopt(3)
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
COMPILERS = ("g++", "clang++")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")  # all-16-bit weights would break the float32 islands


def has_gpu(accelerator: str) -> bool:
    """Whether `trainer.accelerator` means a CUDA device on this machine."""
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def shares_batch_norms(cfg: "DictConfig") -> bool:
    """Whether processes share the statistics of batch norms (`trainer.sync_batchnorm`): torch does so on GPUs alone."""
    return bool(cfg.trainer.get("sync_batchnorm")) and has_gpu(str(cfg.trainer.accelerator))


def cpu_multiplies_bfloat16() -> bool:
    """Whether the CPU has bfloat16 instructions; without them bf16 is slower than float32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def resolve_precision(precision: str, accelerator: str) -> str:
    """`auto` becomes bf16 where the hardware multiplies it, fp16 on older GPUs, else float32.

    Raises:
        InputError: for an unknown precision, and for fp16 on a CPU, which Lightning would silently turn into bf16.
    """
    if precision not in PRECISIONS:
        raise InputError(f"trainer.precision={precision} must be one of {', '.join(PRECISIONS)}")
    gpu = has_gpu(accelerator)
    if precision == "auto":
        if gpu:
            return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
        return "bf16-mixed" if cpu_multiplies_bfloat16() else "32-true"
    if precision.startswith("16") and not gpu:
        raise InputError(f"trainer.precision={precision} needs a GPU; on a CPU use bf16-mixed, 32-true or auto")
    return precision


def resolve_channels_last(channels_last: bool | None, precision: str, accelerator: str) -> bool:
    """None becomes whether 2-D convolutions are faster so: on a CPU, and in 16 bits on a GPU.

    Args:
        channels_last: as the config says.
        precision: as `resolve_precision` gives it.
        accelerator: `trainer.accelerator`.
    """
    if channels_last is not None:
        return channels_last
    if has_gpu(accelerator):
        return precision != "32-true"
    return accelerator != "mps" and not (accelerator == "auto" and torch.backends.mps.is_available())


def check_compiler(compile_encoder: bool | None) -> None:
    """InputError for `compile=true` where nothing compiles what torch.compile writes."""
    if compile_encoder and not any(map(shutil.which, (os.environ.get("CXX", "c++"), *COMPILERS))):
        raise InputError(f"compile=true needs a C++ compiler ({', '.join(COMPILERS)}), and there is none here")


def hardware_of(trainer: "pl.Trainer") -> dict[str, object]:
    """What a run is about to compute on, and in which precision."""
    device = trainer.strategy.root_device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": trainer.world_size,
        "threads": torch.get_num_threads(),
        "precision": str(trainer.precision),
    }


def check_devices(devices: int | str | list[int], accelerator: str) -> None:
    """Refuse, before a run's folder is made, what Lightning would stumble over or start without end.

    Raises:
        InputError: for an accelerator that is none of `ACCELERATORS`, and for more processes than CPUs.
    """
    if accelerator not in ACCELERATORS:
        raise InputError(f"trainer.accelerator={accelerator} must be one of {', '.join(ACCELERATORS)}")
    most = usable_cpus()
    if not has_gpu(accelerator) and str(devices).isdecimal() and int(devices) > most:
        raise InputError(f"trainer.devices={devices} must be at most {most}, the CPUs that are here")


def prepare_cpu(threads: int | None, keep_memory: bool = True) -> None:
    """Set the number of threads, and keep freed memory.

    A training step frees and allocates the same hundreds of megabytes; by default glibc returns them to the kernel
    each time and every page is faulted in and zeroed again. Keeping them made ECAPA's step 1.5 to 2 times as fast on
    two cores. Denormals, which slow a convolution tenfold, are flushed to zero.

    Args:
        threads: None leaves torch's own choice.
        keep_memory: False leaves the allocator as it is.
    """
    if threads is not None:
        if threads < 1:
            raise InputError(f"threads={threads} must be at least 1")
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if keep_memory and sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL("libc.so.6").mallopt
        except (OSError, AttributeError):  # another C library, which needs no such advice
            return
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 2**29)
