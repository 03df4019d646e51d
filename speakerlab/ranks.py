"""Which of the processes that train one network together this one is, as whoever started them says."""

import os


def started() -> int:
    """How many processes torchrun or srun started, none of which has heard of the others; 1 where neither did."""
    if _by_torchrun():
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_NTASKS"]) if _by_srun() else 1


def rank() -> int:
    """This process's number among those that train together; 0 is the first, or one alone."""
    if _by_torchrun():
        return int(os.environ["RANK"])
    if _by_srun():
        return int(os.environ["SLURM_PROCID"])
    return int(os.environ.get("LOCAL_RANK", "0"))  # Lightning, to the processes that it starts on this machine


def _by_torchrun() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def _by_srun() -> bool:
    """Lightning counts by SLURM likewise, and not in a job of this name, in which people type commands."""
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
