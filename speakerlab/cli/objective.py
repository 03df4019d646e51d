"""What a run returns to a sweep."""

from collections.abc import Mapping, Sequence

from omegaconf import DictConfig

from speakerlab import InputError
from speakerlab.reports.metric_names import HIGHER_IS_BETTER
from speakerlab.shipped import nearest

# What a run measures of each task; the first is what the best checkpoint is chosen by.
MEASURED = {
    "verification": ("eer", "min_dcf_0.01", "min_dcf_0.05"),
    "identification": ("error_rate", "accuracy", "top5_accuracy", "macro_f1"),
}
COSTS = ("parameters", "macs")  # of the encoder


def objectives(cfg: DictConfig) -> list[str]:
    """The names that `objective=` gives; by default what the best checkpoint is chosen by.

    Raises:
        InputError: for a name that no run of this task has.
    """
    measured = MEASURED[cfg.task.name]
    if cfg.objective is None:
        return [measured[0]]
    known = [*measured, *COSTS]
    unknown = [name for name in cfg.objective if name not in known]
    if unknown or not cfg.objective:
        name = unknown[0] if unknown else "[]"
        raise InputError(f"objective: {name} is none of {', '.join(known)}{nearest(name, known)}")
    return list(cfg.objective)


def objective_values(cfg: DictConfig, best: Mapping[str, float], trust: tuple[str, ...]) -> float | list[float]:
    """One number, or one an objective: metrics of the best epoch, and what the encoder costs."""
    values = [best[name] if name in best else _cost(cfg, name, trust) for name in objectives(cfg)]
    return values[0] if len(values) == 1 else values


def _cost(cfg: DictConfig, name: str, trust: tuple[str, ...]) -> float:
    from speakerlab.inference.cost import macs, sizes

    return float(sizes(cfg, trust)[0] if name == "parameters" else macs(cfg, trust=trust))


def check_directions(names: Sequence[str], directions: Sequence[str]) -> None:
    """Refuse a sweep that would look for the worst, or for more than there is.

    Args:
        names: of the objectives.
        directions: "minimize" or "maximize", one an objective.

    Raises:
        InputError: with what to give.
    """
    wanted = ["maximize" if name in HIGHER_IS_BETTER else "minimize" for name in names]
    if list(directions) != wanted:
        given = wanted[0] if len(wanted) == 1 else f"[{','.join(wanted)}]"
        raise InputError(
            f"objective=[{','.join(names)}] goes with hydra.sweeper.direction={given}, not {','.join(directions)}"
        )
