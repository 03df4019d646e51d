"""Evaluate a trained model on a trial list, or on its speakers' test utterances.

    python evaluate.py ckpt=outputs/ecapa_aam/2026-01-31_12-00-00              # its best epoch, its own trials or test
    python evaluate.py ckpt=best.ckpt trials=vox1_o_cleaned trials_root=/data/voxceleb1
    python evaluate.py ckpt=best.ckpt trials=list.txt trials_root=[/data/a,/data/b] device=cpu
    python evaluate.py ckpt=best.ckpt manifest=/data/voices/manifest.parquet   # who of the training speakers is it?

Lists are VoxCeleb's `label enrol test`, Kaldi's `enrol test target|nontarget` or CSV with a header. Scores or
predictions, figures, a report and a table of metrics are written to the run's folder.
"""

from omegaconf import DictConfig

from speakerlab.cli.launch import script, trusted_on_command_line


@script("evaluate")
def main(cfg: DictConfig) -> float:
    """Returns the EER, or the error rate of an identification."""
    from speakerlab.inference import model
    from speakerlab.training.hardware import prepare_cpu

    prepare_cpu(cfg.threads)
    model.check_numbers(cfg)
    return identify(cfg) if model.is_identification(cfg, model.find_checkpoint(cfg.ckpt)) else verify(cfg)


def verify(cfg: DictConfig) -> float:
    """Do two recordings share a speaker?"""
    from speakerlab.cli.progress import progress_bar
    from speakerlab.cli.tables import show_evaluation
    from speakerlab.data.trials import check_both_kinds
    from speakerlab.data.utterances import measure
    from speakerlab.inference import evaluation, model
    from speakerlab.reports.evaluation import evaluation_report

    checkpoint = model.find_checkpoint(cfg.ckpt)
    systems = model.load_systems(checkpoint, cfg.baselines, trusted_on_command_line())
    trials, files = model.find_trials(cfg, checkpoint)
    check_both_kinds(trials)
    if cfg.trials is not None:
        model.check_unseen(checkpoint, trials, cfg.allow_overlap)
    seconds = measure(files)
    device = model.pick_device(cfg.device)
    folder, name = model.output_folder(cfg, checkpoint), model.list_name(cfg)

    scores, metrics = {}, {}
    for system, network in systems.networks.items():
        with progress_bar(f"embedding, {system}") as progress:
            scores[system] = evaluation.score_trials(
                network, trials, files, seconds, systems.sample_rate, device, cfg.num_workers, progress
            )
        if system == "model":  # before anything else can go wrong
            evaluation.write_scores(folder / "scores" / f"{name}.txt", trials, scores[system])
        metrics[system] = evaluation.trial_metrics(trials, scores[system], cfg.bootstrap_draws, cfg.operating_points)

    evaluation.append_test_metrics(folder / "metrics" / "test_metrics.csv", checkpoint, trials.source, metrics)
    report = evaluation_report(folder, f"Evaluation of {checkpoint}", name, metrics, scores, trials.labels)
    return show_evaluation(folder, name, metrics, report)


def identify(cfg: DictConfig) -> float:
    """Who of the training speakers is it?"""
    from speakerlab.cli.progress import progress_bar
    from speakerlab.cli.tables import show_identification
    from speakerlab.inference import evaluation, identification, model
    from speakerlab.reports.identification import identification_report
    from speakerlab.scoring.identification import identification_metrics

    checkpoint = model.find_checkpoint(cfg.ckpt)
    classifier = identification.load_classifier(checkpoint, trusted_on_command_line())
    table, classes = identification.find_utterances(cfg, checkpoint, classifier.speakers)
    device = model.pick_device(cfg.device)
    with progress_bar("embedding") as progress:
        guesses = identification.identify(classifier, table, classes, device, cfg.num_workers, progress)
    metrics = identification_metrics(guesses, classes)

    folder, name = model.output_folder(cfg, checkpoint), f"identification_{cfg.split or 'test'}"
    identification.write_predictions(folder / "scores" / f"{name}.csv", table, guesses, classifier.speakers)
    results = folder / "metrics" / "test_identification.csv"
    evaluation.append_test_metrics(results, checkpoint, name, {"model": metrics})
    confused = identification.confusions(classes, guesses.predicted, classifier.speakers, most=10)
    title, speakers = f"Evaluation of {checkpoint}", len(classifier.speakers)
    report = identification_report(folder, title, name, metrics, guesses.rank, speakers, confused)
    return show_identification(folder, name, metrics, speakers, report)


if __name__ == "__main__":
    main()
