"""Every loss for the same number of steps, on the embedded corpus and on real speech: EER and minDCF.

    python benchmarks/every_loss.py --speech DIR        # a killed one goes on with the same command
    python benchmarks/every_loss.py --losses aam circle # without DIR, on the embedded corpus alone
    python benchmarks/every_loss.py --more_seeds        # no further seeds for the best

ECAPA-TDNN of 256 channels, trained with the ordinary command: every loss with its own defaults, the regularisers
added to softmax, batches of 32 (metric losses: 16 speakers x 2 utterances). `pair_mlp`, and `fusion` that has it, are
left out: they decide on pairs by a network of their own, not by the cosine that is measured here. The four with the
lowest EER, on average over the corpora, are then trained with two further seeds. Those that compare and stay far
behind AAM are trained twice more: with twice the steps, and with twice the speakers a batch. DIR holds train/so762,
train/librispeech and trials/dev_so762.txt. Appends a line a run to every_loss.jsonl beside this file, and writes
every_loss_<date>.md from all of them; what was measured by another command is measured anew.
"""

import argparse
import json
import shlex
import shutil
import textwrap
from datetime import date
from pathlib import Path

import numpy as np
from resumable import ROOT, alone, append_result, read_results, train, untrained_metrics

from speakerlab.cli.launch import compose
from speakerlab.reports.curves import read_metrics
from speakerlab.shipped import CONF

RESULTS = Path(__file__).with_suffix(".jsonl")
RUNS = ROOT / "outputs" / "every_loss"
KEYS = ("corpus", "loss", "seed")
STEPS, BATCH, BEST, FIRST_SEED = 200, 32, 4, 1
SECONDS = {"embedded": 1.0, "speech": 1.5}  # of a crop
COMMON = [
    "model=ecapa",
    "model.encoder.channels=256",
    "callbacks.verification.every_n_epochs=0",
]
UTTERANCES = {"embedded": 960, "speech": 1306}  # to train on; the epochs follow from it
COMPARED = {"embedded": 960, "speech": 1058}  # of speakers who have two or more
LONGER, WIDER = "twice the steps", "twice the speakers"
FAR = 1.5  # times the EER of AAM
BETTER = 0.75  # of the EER of the untrained network
DECIDE_ON_PAIRS = ("pair_mlp", "fusion")
VARIANTS = {
    "aam, inter-top-k": ["loss=aam", "loss.top_k=5"],
    "adacos, fixed": ["loss=adacos", "loss.dynamic=false"],
}


def losses() -> dict[str, list[str]]:
    """Name in the table -> arguments: the members of conf/loss, two that are options, and the regularisers."""
    names = [path.stem for path in sorted((CONF / "loss").glob("*.yaml")) if path.stem not in DECIDE_ON_PAIRS]
    added = [path.stem for path in sorted((CONF / "regulariser").glob("*.yaml")) if path.stem != "none"]
    regularised = {f"softmax + {name}": ["loss=softmax", f"regulariser={name}"] for name in added}
    return {name: [f"loss={name}"] for name in names} | VARIANTS | regularised


def compares(loss: str) -> bool:
    """Whether its batches are of speakers and utterances."""
    return "batch_size" not in compose("train", [*COMMON, *losses()[loss]])[0].sampler


def command(corpus: str, loss: str, seed: int, speech: Path | None) -> list[str]:
    """The user's own.

    Args:
        corpus, seed: of the run.
        loss: a key of `losses()`, or one of them and `LONGER` or `WIDER`.
        speech: the folder of real speech.
    """
    name, _, change = loss.partition("; ")
    data = ["data=mini"]
    if corpus == "speech":
        data = [
            "data=folder",
            f"data.root=[{speech}/train/so762,{speech}/train/librispeech]",
            f"data.trials={speech}/trials/dev_so762.txt",
            f"data.trials_root={speech}",
            "norm=none",  # the trials are within a session, whose channel the mean carries
        ]
    arguments = losses()[name]
    pairs = compares(name)
    items = BATCH * 2 if change == WIDER else BATCH
    size = f"speakers_per_batch={items // 2}" if pairs else f"batch_size={items}"
    steps = STEPS * 2 if change == LONGER else STEPS
    epochs = round(steps / round((COMPARED if pairs else UTTERANCES)[corpus] / items))
    crops = [f"sampler.{size}", f"loader.crop_seconds={SECONDS[corpus]}"]
    given = [*COMMON, *data, *arguments, *crops, f"trainer.max_epochs={epochs}", f"seed={seed}"]
    return ["train.py", *given, f"output_dir={RUNS}", f"name={corpus}"]


def measured(corpus: str, loss: str, seed: int, words: list[str], untrained: float | None) -> dict:
    """Train once; what is known afterwards.

    Args:
        corpus, loss, seed: of the run.
        words: its command.
        untrained: EER of the initial weights, which hang on the seed alone; None measures it.
    """
    shutil.rmtree(RUNS / corpus, ignore_errors=True)  # what a killed benchmark left
    RUNS.mkdir(parents=True, exist_ok=True)
    row = {"corpus": corpus, "loss": loss, "seed": seed, "command": shlex.join(["python", *words])}
    fault, _ = train(words, RUNS / "log.txt")
    if fault:
        return row | {"failed": fault}
    (run,) = (RUNS / corpus).glob("*/")
    epochs = read_metrics(run / "metrics" / "train_metrics.csv")
    last = read_metrics(run / "metrics" / "val_metrics.csv")
    facts = json.loads((run / "environment.json").read_text())
    row |= {name: float(last[name][-1]) for name in ("eer", "min_dcf_0.01", "min_dcf_0.05")}
    row |= {
        "steps": int(epochs["step"][-1]),
        "utterances_per_second": float(np.median(epochs["utterances_per_second"])),
        "untrained": alone(untrained_metrics, run)["eer"] if untrained is None else untrained,
        "device": f"{facts['device']}, {facts['precision']}",
        "cpus": facts["cpus"],
        "platform": facts["platform"],
        "commit": (facts["git"] or {"commit": "unknown"})["commit"][:10],
    }
    shutil.rmtree(run)
    return row


def untrained_eer(rows: dict[tuple, dict], corpus: str, seed: int) -> float | None:
    """Of the initial weights of this seed, if a run has measured it."""
    same = (row for key, row in rows.items() if key[::2] == (corpus, seed) and "untrained" in row)
    return next(same, {"untrained": None})["untrained"]


def ranked(rows: dict[tuple, dict], corpora: list[str]) -> list[str]:
    """Losses by the mean over corpora of their EER with the first seed, as a multiple of the corpus's lowest."""
    first = {
        (corpus, loss): row["eer"]
        for (corpus, loss, seed), row in rows.items()
        if seed == FIRST_SEED and corpus in corpora and "failed" not in row
    }
    lowest = {corpus: min(eer for key, eer in first.items() if key[0] == corpus) for corpus in corpora}
    names = [loss for loss in losses() if all((corpus, loss) in first for corpus in corpora)]
    return sorted(names, key=lambda loss: np.mean([first[corpus, loss] / lowest[corpus] for corpus in corpora]))


def is_far(rows: dict[tuple, dict], corpus: str, loss: str) -> bool:
    """Whether it stays far behind AAM with the first seed."""
    row, aam = (rows.get((corpus, name, FIRST_SEED), {}) for name in (loss, "aam"))
    return "eer" in row and "eer" in aam and row["eer"] > FAR * aam["eer"]


def cells(rows: dict[tuple, dict], corpora: list[str], loss: str) -> str:
    """EER and minDCF of a loss on each corpus."""
    found = []
    for corpus in corpora:
        row = rows.get((corpus, loss, FIRST_SEED))
        if row is None or "failed" in row:
            found += ["" if row is None else row["failed"], "", ""]
            continue
        untrained = untrained_eer(rows, corpus, FIRST_SEED)
        marks = " *" * is_far(rows, corpus, loss) + " !" * (row["eer"] > BETTER * untrained)
        found += [f"{100 * row['eer']:.2f}{marks}", f"{row['min_dcf_0.01']:.3f}", f"{row['min_dcf_0.05']:.3f}"]
    return f"| {loss} | {' | '.join(found)} |"


def seeds_table(rows: dict[tuple, dict], corpora: list[str], best: list[str], seeds: list[int]) -> list[str]:
    """Mean and standard deviation of the EER over seeds."""
    lines = [f"| loss | {' | '.join(f'{corpus}: EER % over seeds, mean (standard deviation)' for corpus in corpora)} |"]
    lines.append(f"|---|{'---|' * len(corpora)}")
    for loss in best:
        found = []
        for corpus in corpora:
            eers = [100 * rows[corpus, loss, seed]["eer"] for seed in seeds]
            each = ", ".join(f"{eer:.2f}" for eer in eers)
            found.append(f"{each}: {np.mean(eers):.2f} ({np.std(eers, ddof=1):.2f})")
        lines.append(f"| {loss} | {' | '.join(found)} |")
    return lines


def far_table(rows: dict[tuple, dict], corpora: list[str], order: list[str]) -> list[str]:
    """Those that compare and stay far behind AAM, with more of what they live on."""
    found = {}
    for corpus in corpora:
        for loss in order:
            names = [loss, *(f"{loss}; {change}" for change in (LONGER, WIDER))]
            eers = [rows.get((corpus, name, FIRST_SEED), {}).get("eer") for name in names]
            if None not in eers:
                found[corpus, loss] = eers
    if not found:
        return []
    _, longer, wider = np.mean([np.array(eers) / eers[0] for eers in found.values()], axis=0)
    said = (
        f"Losses that compare tell an utterance from the {BATCH // 2 - 1} other speakers of its batch where AAM tells "
        "it from all. Those that stay far behind AAM so were trained once more with twice the steps and once more with "
        f"twice the speakers a batch, which is as much sound: their EER is {longer:.2f} and {wider:.2f} times as high "
        "on average. EER %:"
    )
    lines = [textwrap.fill(said, 118), "", f"| loss | corpus | as above | {LONGER} | {WIDER} a batch |"]
    lines.append("|---|---|---|---|---|")
    lines += [
        f"| {loss} | {corpus} | {' | '.join(f'{100 * eer:.2f}' for eer in eers)} |"
        for (corpus, loss), eers in found.items()
    ]
    return lines


def markdown(rows: dict[tuple, dict], corpora: list[str], seeds: list[int]) -> str:
    """The dated report."""
    order = ranked(rows, corpora)
    some = next(row for row in rows.values() if "failed" not in row)
    said = ", ".join(f"{corpus} {100 * untrained_eer(rows, corpus, FIRST_SEED):.1f} %" for corpus in corpora)
    counts = {corpus: {rows[corpus, loss, FIRST_SEED]["steps"] for loss in order} for corpus in corpora}
    steps = ", ".join(f"{corpus} {' or '.join(map(str, sorted(found)))}" for corpus, found in counts.items())
    text = (
        f"ECAPA-TDNN of 256 channels, batches of {BATCH} (metric losses: 16 speakers x 2 utterances), every loss with "
        f"its own defaults and as many whole epochs as come nearest to {STEPS} steps ({steps}). Metrics of the last "
        "epoch, one seed; by the mean EER over the corpora, as a multiple of the lowest. EER of the untrained network: "
        f"{said}. A star: over {FAR} times the EER of AAM; an exclamation mark: over {BETTER} times that of the "
        "untrained network. The embedded corpus's trials are across sessions, over 24 speakers; those of speech within "
        "a session, over 24 speakers: differences of a tenth mean nothing."
    )
    heads = " | ".join(f"{corpus}: EER % | minDCF(0.01) | minDCF(0.05)" for corpus in corpora)
    failed = [f"- {row['corpus']}, {row['loss']}: {row['failed']}" for row in rows.values() if "failed" in row]
    lines = [f"# Every loss, {date.today()}", "", "`python benchmarks/every_loss.py --speech DIR`", ""]
    lines += [textwrap.fill(text, 118), "", f"| loss | {heads} |", f"|---|{'---|' * 3 * len(corpora)}"]
    lines += [cells(rows, corpora, loss) for loss in order] + ["", *failed] * bool(failed)
    best = order[:BEST]
    wanted = [(corpus, loss, seed) for corpus in corpora for loss in best for seed in seeds]
    if len(seeds) > 1 and all("eer" in rows.get(key, {}) for key in wanted):
        lines += ["", *seeds_table(rows, corpora, best, seeds)]
    lines += ["", *far_table(rows, corpora, order), ""]
    commits = ", ".join(sorted({row["commit"] for row in rows.values() if "failed" not in row}))
    lines += [f"`{some['command']}`".replace(str(ROOT) + "/", ""), ""]
    lines += [f"{some['platform']}, {some['cpus']} CPUs, {some['device']}. Commit {commits}.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, metavar="DIR", help="folder of real speech")
    parser.add_argument("--losses", nargs="*", choices=losses(), default=list(losses()), metavar="LOSS")
    parser.add_argument("--more_seeds", type=int, nargs="*", default=[2, 3], metavar="SEED", help="for the best")
    arguments = parser.parse_args()
    corpora = ["embedded", *(["speech"] if arguments.speech else [])]
    rows = read_results(RESULTS, KEYS)

    def run(wanted: list[tuple]) -> None:
        for number, (corpus, loss, seed) in enumerate(wanted, start=1):
            key, words = (corpus, loss, seed), command(corpus, loss, seed, arguments.speech)
            known = rows.get(key, {})
            if known.get("command") != shlex.join(["python", *words]) or "failed" in known:
                rows[key] = measured(*key, words, untrained_eer(rows, corpus, seed))
                append_result(RESULTS, rows[key])
            row = rows[key]
            said = row.get("failed") or f"EER {100 * row['eer']:.2f} % (untrained {100 * row['untrained']:.2f} %)"
            print(f"{number}/{len(wanted)} {corpus}, {loss}, seed {seed}: {said}", flush=True)

    run([(corpus, loss, FIRST_SEED) for loss in arguments.losses for corpus in corpora])
    best = ranked(rows, corpora)[:BEST]
    run([(corpus, loss, seed) for loss in best for corpus in corpora for seed in arguments.more_seeds])
    far = [
        (corpus, loss)
        for corpus in corpora
        for loss in arguments.losses
        if compares(loss) and is_far(rows, corpus, loss)
    ]
    run([(corpus, f"{loss}; {change}", FIRST_SEED) for corpus, loss in far for change in (LONGER, WIDER)])
    path = RESULTS.with_name(f"every_loss_{date.today()}.md")
    path.write_text(markdown(rows, corpora, [FIRST_SEED, *arguments.more_seeds]))
    print(path)


if __name__ == "__main__":
    main()
