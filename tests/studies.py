"""Real studies of Optuna over closed-form functions, as sweeps leave them."""

import math
import shlex
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from speakerlab.sweeping.study import FOLDER, OBJECTIVES, REASON

FAILS, TRIALS = 7, 24


def make_study(folder: Path, two: bool = False, direction: str = "minimize") -> optuna.Study:
    """`TRIALS` trials, of which one fails and, with one objective, some are pruned: the EER depends on the logarithm of
    the rate most, then on the margin, and a little on the loss; the second objective is the width alone.

    Args:
        folder: gets `study.db`.
        two: also the number of parameters, which can't be pruned.
        direction: of a single objective, which "maximize" turns into an accuracy.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    sign = -1 if direction == "maximize" else 1

    def run(trial: optuna.Trial) -> float | tuple[float, float]:
        rate = trial.suggest_float("optimizer.lr", 1e-4, 1e-2, log=True)
        margin = trial.suggest_float("loss.margin", 0.05, 0.5)
        loss = trial.suggest_categorical("loss", ["aam", "am"])
        width = trial.suggest_int("model.encoder.channels", 128, 512, step=128)
        trial.set_user_attr(FOLDER, str(trial.number))
        error = 0.03 + 0.05 * (math.log10(rate) + 3) ** 2 + 0.2 * (margin - 0.25) ** 2 + 0.001 * (loss == "am")
        value = error if sign > 0 else 1 - error
        if trial.number == FAILS:
            trial.set_user_attr(REASON, "out of memory: CUDA")
            raise RuntimeError
        if two:
            return value, 1000.0 * width
        for epoch in range(1, 4):
            trial.report(value + sign * 0.01 / epoch, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    study = optuna.create_study(
        study_name=folder.name,
        storage=f"sqlite:///{folder / 'study.db'}",
        directions=["minimize", "minimize"] if two else [direction],
        sampler=optuna.samplers.RandomSampler(seed=3),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=8),
    )
    study.set_user_attr(OBJECTIVES, ["eer", "parameters"] if two else ["eer" if sign > 0 else "accuracy"])
    study.optimize(run, n_trials=TRIALS, catch=RuntimeError)
    return study


def write_command(folder: Path, trial: FrozenTrial, *words: str) -> None:
    """What a trial's run says of how it was begun."""
    run = folder / str(trial.number)
    run.mkdir(parents=True, exist_ok=True)
    own = [f"{key}={value}" for key, value in trial.params.items()]
    given = shlex.join([*words, *own, f"folder={run}"])
    (run / "command.txt").write_text(f"python train.py {given}\npython train.py ckpt={run}\n")
