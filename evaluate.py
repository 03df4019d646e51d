"""Evaluate a trained model, or what was saved of one: on a trial list, or by naming speakers.

    python evaluate.py ckpt=outputs/ecapa_aam/2026-01-31_12-00-00              # its best epoch, its own trials or test
    python evaluate.py ckpt=best.ckpt trials=vox1_o_cleaned trials_root=/data/voxceleb1
    python evaluate.py ckpt=best.ckpt trials=list.txt trials_root=[/data/a,/data/b] device=cpu
    python evaluate.py ckpt=best.ckpt manifest=/data/voices/manifest.parquet   # who of the training speakers is it?
    python evaluate.py ckpt=best.ckpt manifest=/data/voices/manifest.parquet enrolment=train  # who of those in train?
    python evaluate.py ckpt=best.ckpt trials=list.txt save_embeddings=saved.npz
    python evaluate.py embeddings=saved.npz trials=list.txt
    python evaluate.py embeddings=test.parquet enrolment=enrolled.parquet      # who of those in the other file?
    python evaluate.py ckpt=RUN scoring=asnorm save_calibration=true           # on development trials, for other lists
    python evaluate.py ckpt=RUN scoring=asnorm trials=vox1_o_cleaned trials_root=/data/voxceleb1
    python evaluate.py scores=[a.csv,b.csv] development_scores=[dev_a.csv,dev_b.csv]   # two systems, fused

Lists are VoxCeleb's `label enrol test`, Kaldi's `enrol test target|nontarget` or CSV with a header. Scores or
predictions, figures, a report, a log and a table of metrics are written to the run's folder.
"""

from omegaconf import DictConfig

from speakerlab.cli.launch import script, trusted_on_command_line


@script("evaluate")
def main(cfg: DictConfig) -> float:
    """Returns the EER, or the error rate of an identification."""
    from speakerlab.cli.progress import progress_bar
    from speakerlab.inference.evaluation import check_numbers
    from speakerlab.inference.model import task_of
    from speakerlab.inference.request import CLASSIFIER, ENROLMENT, TRIALS, check_request, kind_of
    from speakerlab.inference.source import open_source
    from speakerlab.training.hardware import prepare_cpu

    check_request(cfg)
    check_numbers(cfg.bootstrap_draws, cfg.operating_points)
    prepare_cpu(cfg.threads)
    if cfg.scores is not None:
        return evaluate_scores(cfg)
    source = open_source(cfg, trusted_on_command_line(), progress_bar)
    kind = kind_of(cfg, task_of(source.checkpoint))
    return {TRIALS: verify, CLASSIFIER: identify, ENROLMENT: recognise}[kind](cfg, source)


def verify(cfg: DictConfig, source) -> float:
    """Do two recordings share a speaker?"""
    from speakerlab.cli.progress import progress_bar
    from speakerlab.cli.tables import show_evaluation
    from speakerlab.data.score_files import write_scores
    from speakerlab.data.trials import check_both_kinds
    from speakerlab.inference import calibration, evaluation, model, scoring
    from speakerlab.inference.material import find_material
    from speakerlab.inference.request import TRIALS, name_of
    from speakerlab.inference.source import recorded
    from speakerlab.reports.evaluation import evaluation_report

    trials, utterances = model.find_trials(cfg, source.checkpoint)
    check_both_kinds(trials)
    if cfg.trials is not None and source.checkpoint is not None:
        model.check_unseen(source.checkpoint, trials, cfg.allow_overlap)
    with progress_bar("audio files") as progress:
        material = find_material(cfg.scoring, source.checkpoint, utterances, cfg.cache_dir, progress)

    with recorded(cfg, source, name_of(cfg, TRIALS)) as results:
        scores, ratios, metrics, kept = {}, {}, {}, None
        for system, embed in source.systems.items():
            embeddings = embed(utterances)
            scored = scoring.score(cfg.scoring, trials, utterances, embeddings, material, embed, progress_bar)
            scores[system] = scored.scores
            if system == "model":  # before anything else can go wrong
                results.keep(utterances, embeddings)
                kept = calibration.find_calibration(cfg, source.checkpoint, scored, trials)
                llrs = None if kept is None else kept.calibration.llrs(scored.table)
                write_scores(results.folder / "scores" / f"{results.name}.csv", trials, scored.scores, llrs)
                if llrs is not None:
                    scores["model, calibrated"] = ratios["model, calibrated"] = llrs
        if cfg.save_calibration:
            calibration.keep(source.checkpoint, kept)
        for system, values in scores.items():
            metrics[system] = evaluation.trial_metrics(
                trials, values, cfg.bootstrap_draws, cfg.operating_points, ratios.get(system)
            )
        evaluation.keep_metrics(results.folder, source.path, trials.source, metrics)
        report = evaluation_report(results.folder, source.title, results.name, metrics, scores, trials.labels)
        return show_evaluation(results.folder, results.name, metrics, report)


def evaluate_scores(cfg: DictConfig) -> float:
    """How good are the scores in files, one system's or several systems' together?"""
    from speakerlab.cli.tables import show_evaluation
    from speakerlab.data.score_files import write_scores
    from speakerlab.data.trials import check_both_kinds
    from speakerlab.inference import evaluation, fusion
    from speakerlab.record import text_log
    from speakerlab.reports.evaluation import evaluation_report

    systems = fusion.read_systems(cfg.scores, fusion.find_listed(cfg.trials, cfg.trials_root))
    development = None if cfg.development_scores is None else fusion.read_systems(cfg.development_scores)
    check_both_kinds(systems.trials)
    folder, name = fusion.output_folder(cfg, systems), systems.name
    with text_log(folder / f"evaluation_{name}" / "evaluation.log"):
        scores, ratios, metrics, llrs = dict(systems.scores), {}, {}, fusion.fuse(systems, development)
        if llrs is not None:
            ratios = {"fusion" if len(scores) > 1 else "calibrated": llrs}
            scores = ratios | scores
        write_scores(folder / "scores" / f"{name}.csv", systems.trials, next(iter(scores.values())), llrs)
        for system, values in scores.items():
            metrics[system] = evaluation.trial_metrics(
                systems.trials, values, cfg.bootstrap_draws, cfg.operating_points, ratios.get(system)
            )
        evaluation.keep_metrics(folder, systems.source, systems.trials.source, metrics)
        title = f"Evaluation of {systems.source}"
        report = evaluation_report(folder, title, name, metrics, scores, systems.trials.labels)
        return show_evaluation(folder, name, metrics, report)


def identify(cfg: DictConfig, source) -> float:
    """Who of the training speakers is it? The loss that the network was trained with tells."""
    from speakerlab.cli.tables import show_identification
    from speakerlab.data.manifest import speaker_classes
    from speakerlab.data.utterances import utterances_of_rows
    from speakerlab.inference import identification, model
    from speakerlab.inference.request import CLASSIFIER, name_of, part_of_test
    from speakerlab.inference.source import recorded
    from speakerlab.network import classify
    from speakerlab.reports.identification import identification_report

    embed, device, trust = source.systems["model"], source.devices[0], trusted_on_command_line()
    loss, speakers = identification.load_classifier(source.checkpoint, embed.network.embed_dim, trust)
    table = model.find_rows(cfg, source.checkpoint, part_of_test(cfg))
    classes, utterances = speaker_classes(table, speakers), utterances_of_rows(table)

    with recorded(cfg, source, name_of(cfg, CLASSIFIER)) as results:
        embeddings = embed(utterances)
        results.keep(utterances, embeddings)
        guesses = {"model": classify(loss.to(device), embeddings, classes, len(speakers), device)}
        metrics = identification.keep_guesses(results, source.path, utterances, classes, speakers, guesses)
        confused = identification.confusions(classes, guesses["model"].predicted, speakers, most=10)
        report = identification_report(
            results.folder, source.title, results.name, metrics["model"], guesses["model"].rank, len(speakers), confused
        )
        return show_identification(results.folder, results.name, metrics, len(speakers), report)


def recognise(cfg: DictConfig, source) -> float:
    """Who of some enrolled speakers is it, and is it who it claims to be? Embeddings alone tell."""
    from speakerlab.cli.tables import show_evaluation, show_identification
    from speakerlab.data.score_files import write_scores
    from speakerlab.inference import enrolment, evaluation, identification
    from speakerlab.inference.request import ENROLMENT, name_of
    from speakerlab.inference.source import recorded
    from speakerlab.reports.evaluation import evaluation_report
    from speakerlab.reports.identification import identification_report

    enrolled, tested = enrolment.find_parts(cfg, source)
    speakers, known, classes = enrolment.speaker_numbers(enrolled.utterances.speakers, tested.utterances.speakers)

    with recorded(cfg, source, name_of(cfg, ENROLMENT)) as results:
        embeddings = [part.embed(part.utterances) for part in (enrolled, tested)]
        results.keep(*enrolment.joined(enrolled, tested, embeddings))
        guesses = enrolment.recognise(embeddings, known, classes, cfg.neighbours)
        metrics = identification.keep_guesses(results, source.path, tested.utterances, classes, speakers, guesses)
        folder, best, count = results.folder, guesses["centroid"], len(speakers)
        confused = identification.confusions(classes, best.predicted, speakers, most=10)
        report = identification_report(
            folder, source.title, results.name, metrics["centroid"], best.rank, count, confused
        )
        show_identification(folder, results.name, metrics, count, report)

        claims, scores = enrolment.claim(embeddings, known, classes, speakers, tested.utterances.names)
        name = f"{results.name}_claims"
        write_scores(folder / "scores" / f"{name}.csv", claims, scores)
        accepted = {"model": evaluation.trial_metrics(claims, scores, cfg.bootstrap_draws, cfg.operating_points)}
        evaluation.keep_metrics(results.folder, source.path, claims.source, accepted)
        report = evaluation_report(folder, source.title, name, accepted, {"model": scores}, claims.labels)
        show_evaluation(folder, name, accepted, report)
        return metrics["centroid"]["error_rate"]


if __name__ == "__main__":
    main()
