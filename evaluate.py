"""Evaluate a trained model on a trial list.

    python evaluate.py ckpt=outputs/ecapa_aam/2026-01-31_12-00-00              # its best epoch, its development trials
    python evaluate.py ckpt=best.ckpt trials=veri_test2.txt trials_root=/data/voxceleb1/wav
    python evaluate.py ckpt=best.ckpt trials=list.txt trials_root=[/data/a,/data/b] device=cpu

Lists are VoxCeleb's `label enrol test` or Kaldi's `enrol test target|nontarget`. Scores, figures, a report and
`metrics/test_metrics.csv` are written to the run's folder.
"""

from omegaconf import DictConfig

from speakerlab.cli.launch import script, trusted_on_command_line


@script("evaluate")
def main(cfg: DictConfig) -> float:
    """Returns the EER."""
    from speakerlab.cli.progress import progress_bar
    from speakerlab.cli.tables import show_evaluation
    from speakerlab.data.trials import check_both_kinds
    from speakerlab.data.utterances import measure
    from speakerlab.inference import evaluation, model
    from speakerlab.reports.evaluation import evaluation_report
    from speakerlab.training.hardware import prepare_cpu

    prepare_cpu(cfg.threads)
    model.check_numbers(cfg)
    checkpoint = model.find_checkpoint(cfg.ckpt)
    systems = model.load_systems(checkpoint, cfg.baselines, trusted_on_command_line())
    trials, files = model.find_trials(cfg, checkpoint)
    check_both_kinds(trials)
    seconds = measure(files)
    device = model.pick_device(cfg.device)
    folder, name = model.output_folder(cfg, checkpoint), model.list_name(cfg)

    scores, metrics = {}, {}
    for system, network in systems.networks.items():
        with progress_bar(f"embedding, {system}") as progress:
            scores[system] = evaluation.score_trials(
                network, trials, files, seconds, systems.sample_rate, device, cfg.num_workers, progress
            )
        metrics[system] = evaluation.trial_metrics(trials, scores[system], cfg.bootstrap_draws)

    evaluation.write_scores(folder / "scores" / f"{name}.txt", trials, scores["model"])
    evaluation.append_test_metrics(folder / "metrics" / "test_metrics.csv", checkpoint, trials.source, metrics)
    report = evaluation_report(folder, f"Evaluation of {checkpoint}", name, metrics, scores, trials.labels)
    return show_evaluation(folder, name, metrics, report)


if __name__ == "__main__":
    main()
