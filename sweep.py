"""Search for hyperparameters: each trial is a run of train.py.

    python sweep.py sweep=margin n_trials=50                  # the space conf/sweep/margin.yaml
    python sweep.py sweep=margin n_trials=50                  # again: goes on with the study where it stopped
    python sweep.py 'loss.margin=interval(0.1, 0.5)' 'optimizer.lr=tag(log, interval(1e-4, 1e-2))' study=mine
    python sweep.py sweep=margin workers=2 model=resnet34 trainer.max_epochs=20 data=folder data.root=/data/voices
    python sweep.py sweep=margin search=gp pruner=hyperband hours=8
    python sweep.py 'objective=[eer,parameters]' 'model.encoder.channels=choice(256, 512, 1024)' study=size
    python sweep.py sweep=margin storage=postgresql://me@host/sweeps     # the same on every machine

What is no key of conf/sweep.yaml is given to every trial. Results lie in outputs/sweeps/<study>/, a trial's run in the
folder of its number.
"""

from omegaconf import DictConfig

from speakerlab.cli.launch import script, take_others


def main(cfg: DictConfig, overrides: list[str]) -> None:
    """Runs trials, of train.py with these overrides, until the study has `n_trials` of them."""
    from pathlib import Path

    from speakerlab.cli.sweep_progress import SweepProgress
    from speakerlab.cli.sweeping import plan_sweep
    from speakerlab.record import log_path, text_log
    from speakerlab.sweeping.crew import Crew

    sweep = plan_sweep(cfg, overrides, Path(__file__).with_name("train.py"))
    with text_log(log_path(sweep.plan.folder, "sweep")):
        progress = SweepProgress(sweep)
        progress.begin()
        stopped_by = Crew(sweep.plan, sweep.shares, cfg.max_failures, progress.tell).run()
        progress.end(stopped_by)


if __name__ == "__main__":
    others = take_others("sweep")
    script("sweep")(lambda cfg: main(cfg, others))()
