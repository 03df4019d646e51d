"""Train a speaker-recognition model.

    python train.py                                       # ECAPA-TDNN + AAM-softmax on the embedded corpus
    python train.py model=ecapa loss=aam data=folder data.root=/data/voices
    python train.py ckpt=last                             # go on where a stopped run left off
    python train.py trainer=gpu_8gb sampler.batch_size=32
    python train.py -m model=ecapa,resnet34 loss=aam,am   # a run of each; what searches is sweep.py
    python train.py --help                                # groups, their members, every key

Everything that can be set stands in conf/; a run writes to outputs/<name>/<date_time>/.
"""

from omegaconf import DictConfig

from speakerlab.cli.launch import script, trusted_on_command_line


@script("train")
def main(cfg: DictConfig) -> float | list[float] | None:
    """Returns the best epoch's development EER or error rate, or what `objective=` names, for a sweep."""
    # Here and not above: --help and a typo answer before torch and Lightning are imported.
    import torch

    from speakerlab.build import build_corpus
    from speakerlab.cli.objective import objective_values, objectives
    from speakerlab.cli.progress import progress_bar
    from speakerlab.cli.tables import show_training
    from speakerlab.reports.training import epoch_images, training_report
    from speakerlab.training.assembly import build_datamodule, build_system, build_trainer, try_components
    from speakerlab.training.fine_tuning import read_start
    from speakerlab.training.hardware import hardware_of, prepare_cpu
    from speakerlab.training.run import find_run

    trust = trusted_on_command_line()
    prepare_cpu(cfg.threads, cfg.keep_memory)
    objectives(cfg)
    try_components(cfg, trust)
    with progress_bar("corpus") as progress:
        corpus = build_corpus(cfg, trust, progress)
    with progress_bar("audio files") as progress:
        data = build_datamodule(cfg, corpus, trust, progress)

    run = find_run(cfg)
    with run.recorded():
        run.check(cfg, data.corpus, data.augment)
        trainer = build_trainer(cfg, run.folder, run.step, trust, epoch_images)
        data.check(trainer.world_size, run.data_state)
        torch.manual_seed(cfg.seed)
        start = read_start(cfg) if run.checkpoint is None else None
        system = build_system(cfg, data, trust, resumed=run.checkpoint is not None, start=start)
        if trainer.is_global_zero:
            facts = hardware_of(trainer) | {"parameters": system.size()}
            run.start(cfg, data.corpus, facts, (*data.augment.notes, *system.notes))
        trainer.fit(system, datamodule=data, ckpt_path=run.checkpoint, weights_only=True)
    if not trainer.is_global_zero:
        return None
    run.mark("finished")
    best = show_training(run.folder, training_report(run.folder), cfg.data.get("branches"))
    return objective_values(cfg, best, trust)


if __name__ == "__main__":
    main()
