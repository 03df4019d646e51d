"""What evaluate.py does once it knows what to evaluate: each kind of evaluation from its input to its report."""

from dataclasses import replace

from omegaconf import DictConfig

from speakerlab.cli.launch import trusted_on_command_line
from speakerlab.cli.progress import progress_bar
from speakerlab.cli.reporting import report_on_speakers, report_on_trials
from speakerlab.cli.tables import show_evaluation, show_identification
from speakerlab.data.embedding_files.formats import place_of
from speakerlab.data.manifest import speaker_classes
from speakerlab.data.score_files import write_scores
from speakerlab.data.utterances import utterances_of_rows
from speakerlab.inference import calibration, enrolment, evaluation, fusion, identification, model, saving, scoring
from speakerlab.inference.material import find_material
from speakerlab.inference.pair_scoring import load_pair_mlp
from speakerlab.inference.request import CLASSIFIER, ENROLMENT, TRIALS, name_of, part_of_test
from speakerlab.inference.source import Source, recorded
from speakerlab.losses.pair_mlp import PairMlp
from speakerlab.network import classify
from speakerlab.record import log_path, text_log
from speakerlab.reports.evaluation import Verification
from speakerlab.reports.identification import Identification


def verify(cfg: DictConfig, source: Source) -> float:
    """Do two recordings share a speaker?"""
    trials, utterances = model.find_trials(cfg, source.checkpoint)
    evaluation.check_trials(trials, cfg.bootstrap_draws)
    if cfg.trials is not None and source.checkpoint is not None:
        model.check_unseen(source.checkpoint, trials, cfg.allow_overlap)
    with progress_bar("audio files") as progress:
        material = find_material(cfg.scoring, source.checkpoint, utterances, cfg.cache_dir, progress)
    if cfg.scoring.backend == scoring.PAIR_MLP:
        material = replace(material, pair_mlp=_pair_mlp(source))

    with recorded(cfg, source, name_of(cfg, TRIALS)) as results:
        embeddings, scores, ratios, metrics, kept = {}, {}, {}, {}, None
        for system, embed in source.systems.items():
            embeddings[system] = embed(utterances)
            scored = scoring.score(cfg.scoring, trials, utterances, embeddings[system], material, embed, progress_bar)
            scores[system] = scored.scores
            if system == "model":  # before anything else can go wrong
                results.keep(utterances, embeddings[system])
                whole = None if source.without else source.checkpoint  # whose calibration is of all branches
                kept = calibration.find_calibration(cfg, whole, scored, trials)
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
        missing = [f"without {branch}" for branch in source.without]
        recipe = ", ".join([scoring.recipe_name(cfg.scoring) or "cosine", *missing])
        evaluation.keep_metrics(results.folder, source.path, trials.source, metrics, recipe)
        found = Verification(results.name, trials, scores, metrics, embeddings["model"])
        report = report_on_trials(cfg, results.folder, source.title, found, source, utterances)
        return show_evaluation(results.folder, results.name, metrics, report)


def _pair_mlp(source: Source) -> PairMlp:
    embed_dim = source.systems["model"].network.embed_dim
    return load_pair_mlp(source.checkpoint, embed_dim, trusted_on_command_line()).to(source.devices[0])


def evaluate_scores(cfg: DictConfig) -> float:
    """How good are the scores in files, one system's or several systems' together?"""
    systems = fusion.read_systems(cfg.scores, fusion.find_listed(cfg.trials, cfg.trials_root))
    development = None if cfg.development_scores is None else fusion.read_systems(cfg.development_scores)
    evaluation.check_trials(systems.trials, cfg.bootstrap_draws)
    folder, name = fusion.output_folder(cfg, systems), systems.name
    with text_log(log_path(folder, f"evaluation_{name}")):
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
        found = Verification(name, systems.trials, scores, metrics)
        report = report_on_trials(cfg, folder, f"Evaluation of {systems.source}", found)
        return show_evaluation(folder, name, metrics, report)


def save_corpus(cfg: DictConfig, source: Source) -> None:
    """Keep the embeddings of all that the model was trained on and is judged by, with speakers and splits."""
    place = place_of(cfg.save_embeddings)
    with progress_bar("audio files") as progress:
        utterances, splits = saving.whole_corpus(cfg, source.checkpoint, progress)
    saving.save(place, utterances, source.systems["model"](utterances), source.checkpoint, splits)


def identify(cfg: DictConfig, source: Source) -> float:
    """Who of the training speakers is it? The loss that the network was trained with tells."""
    embed, device, trust = source.systems["model"], source.devices[0], trusted_on_command_line()
    loss, speakers = identification.load_classifier(source.checkpoint, embed.network.embed_dim, trust)
    table = model.find_rows(cfg, source.checkpoint, part_of_test(cfg))
    classes, utterances = speaker_classes(table, speakers), utterances_of_rows(table)

    with recorded(cfg, source, name_of(cfg, CLASSIFIER)) as results:
        embeddings = embed(utterances)
        results.keep(utterances, embeddings)
        guesses = {"model": classify(loss.to(device), embeddings, classes, len(speakers), device)}
        metrics = identification.keep_guesses(results, source.path, utterances, classes, speakers, guesses)
        found = Identification(results.name, metrics, classes, guesses["model"], speakers, embeddings)
        report = report_on_speakers(cfg, results.folder, source.title, found, source)
        return show_identification(results.folder, results.name, metrics, len(speakers), report)


def recognise(cfg: DictConfig, source: Source) -> float:
    """Who of some enrolled speakers is it, and is it who it claims to be? Embeddings alone tell."""
    enrolled, tested = enrolment.find_parts(cfg, source)
    speakers, known, classes = enrolment.speaker_numbers(enrolled.utterances.speakers, tested.utterances.speakers)

    with recorded(cfg, source, name_of(cfg, ENROLMENT)) as results:
        embeddings = [part.embed(part.utterances) for part in (enrolled, tested)]
        results.keep(*enrolment.joined(enrolled, tested, embeddings))
        guesses = enrolment.recognise(embeddings, known, classes, cfg.neighbours)
        metrics = identification.keep_guesses(results, source.path, tested.utterances, classes, speakers, guesses)
        found = Identification(results.name, metrics, classes, guesses["centroid"], speakers, embeddings[1])
        folder, count = results.folder, len(speakers)
        report = report_on_speakers(cfg, folder, source.title, found, source)
        show_identification(folder, results.name, metrics, count, report)

        claims, scores = enrolment.claim(embeddings, known, classes, speakers, tested.utterances.names)
        name = f"{results.name}_claims"
        write_scores(folder / "scores" / f"{name}.csv", claims, scores)
        accepted = {"model": evaluation.trial_metrics(claims, scores, cfg.bootstrap_draws, cfg.operating_points)}
        evaluation.keep_metrics(results.folder, source.path, claims.source, accepted)
        found = Verification(name, claims, {"model": scores}, accepted)
        report = report_on_trials(cfg, folder, source.title, found, source)
        show_evaluation(folder, name, accepted, report)
        return metrics["centroid"]["error_rate"]
