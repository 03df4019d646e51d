"""SincNet, a CNN on mel spectrograms and their fusion on the same utterances: who is it, and is it the same voice?

    python benchmarks/fusion.py --speech DIR             # a killed one goes on with the same command
    python benchmarks/fusion.py --corpora embedded       # alone, which needs no DIR; two can run side by side
    python benchmarks/fusion.py --seeds 1 --epochs 2     # to see that it works

For each corpus a few settings of each branch are tried for a part of the epochs. For each seed the two branches are
then trained, all that they are trained on and judged by is embedded, and every kind of fusion is trained on these
embeddings, all by the ordinary commands. Validation utterances choose the setting, each run's epoch and, by the mean
over seeds, the kind of fusion. Only then are the test utterances identified and the trials scored, which are over
speakers that nothing was trained on. DIR holds train/so762, dev/so762 and trials/dev_so762.txt. Appends a line a run
to fusion.jsonl beside this file, and writes fusion_<date>.md from all of them.
"""

import argparse
import json
import shlex
import shutil
import sys
import time
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from fusion_report import BRANCHES, Outcome, chosen_kind, markdown
from resumable import ROOT, append_result, forked, read_results

from speakerlab.cli.launch import compose
from speakerlab.data.corpora.mini import make_mini
from speakerlab.reports.curves import read_metrics

RESULTS = Path(__file__).with_suffix(".jsonl")
RUNS = ROOT / "outputs" / "fusion_benchmark"
KEYS = ("corpus", "seed", "step")
KINDS = ("gated", "softmax", "cross_attention", "concatenate", "mean")
# Without a margin and noise, with which SincNet learns nothing in so few steps.
LOSS = ["loss=fusion", "+loss@loss.losses.cosine=softmax", "+loss.weights.cosine=1.0", "augment=none"]
SETTINGS = {
    # Half the filters and taps of the paper, a quarter of its width, two chunks of 200 ms a crop, and batches of 16:
    # some thousand steps in minutes on one core.
    "sincnet": [
        *("experiment=sincnet", "model.encoder.filters=40", "model.encoder.taps=129", "model.encoder.hidden=512"),
        *("model.encoder.hop_ms=200", "model.encoder.train_chunks=2", "loader.crop_seconds=0.5"),
        "sampler.speakers_per_batch=8",
    ],
    "mel_cnn": [
        *("experiment=mel_cnn", "frames.target_frames=100", "loader.crop_seconds=1.0"),
        "sampler.speakers_per_batch=16",
    ],
}
# What the validation utterances choose from, after a part of the epochs.
TRIES = {
    "sincnet": {name: [f"optimizer.lr={name}"] for name in ("5e-4", "1e-3")},
    "mel_cnn": {name: [f"norm={name}"] for name in ("mean_variance", "none")},
}
TRIED, MEASURED = 4, 4  # tries have a fourth of the epochs; a branch is measured so many times


@dataclass(frozen=True)
class Corpus:
    """What is trained on, and the trials over other speakers."""

    data: list[str]
    trials: Path
    root: Path
    epochs: dict[str, int]  # of the branches and of a fusion

    @property
    def listed(self) -> list[str]:
        """For evaluate.py."""
        return [f"trials={self.trials}", f"trials_root={self.root}"]


def corpora(speech: Path | None) -> dict[str, Corpus]:
    """By name. The split is the same for every seed."""
    mini = make_mini(Path(compose("train", [])[0].cache_dir).expanduser())
    epochs = {"sincnet": 100, "mel_cnn": 40, "fusion": 30}
    found = {"embedded": Corpus(["data=mini", "data.seed=1"], mini / "trials.txt", mini, epochs)}
    if speech is not None:
        data = ["data=folder", f"data.root={speech}/train/so762", "data.seed=1"]
        # Each speaker has one session, within which the trials are, too.
        data += ["data.split={train: .6, val: .2, test: .2}", "data.split_by=utterance"]
        epochs = {"sincnet": 64, "mel_cnn": 30, "fusion": 30}  # with twice the utterances
        found["speech"] = Corpus(data, speech / "trials" / "dev_so762.txt", speech, epochs)
    return found


def folder_of(corpus: str, seed: int, name: str) -> Path:
    return RUNS / corpus / f"seed{seed}" / name


class Study:
    """Steps that are done once, whatever stops the program.

    Args:
        corpora: by name.
    """

    def __init__(self, corpora: dict[str, Corpus]):
        self.corpora = corpora
        self.rows = read_results(RESULTS, KEYS)

    def do(self, corpus: str, seed: int, step: str, commands: list[list[str]], made: Path, facts=dict) -> None:
        """Run the commands of a step unless they were run; `made` is what they leave, `facts` what to keep of it."""
        written = [shlex.join(["python", *words]) for words in commands]
        row = self.rows.get((corpus, seed, step))
        if row is not None and row["commands"] == written and made.exists():
            return
        made.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        for words in commands:
            fault = forked(words, RUNS / f"{corpus}.txt")
            if fault:
                raise SystemExit(f"{shlex.join(['python', *words])}\n{fault}")
        minutes = (time.monotonic() - started) / 60
        row = {"corpus": corpus, "seed": seed, "step": step, "minutes": minutes, "commands": written} | facts()
        append_result(RESULTS, row)
        self.rows[corpus, seed, step] = row
        said = "".join(f", validation error {100 * row['error_rate']:.2f} %" for _ in range("error_rate" in row))
        print(f"{corpus}, seed {seed}, {step}: {minutes:.1f} minutes{said}", flush=True)

    def train(self, corpus: str, seed: int, name: str, words: list[str]) -> None:
        """One run, in a folder of its own; what a killed try left there is removed."""
        run = folder_of(corpus, seed, name.replace(" ", "_"))
        given = [*words, "callbacks.early_stopping.patience=null", f"seed={seed}", f"name={run.name}", f"folder={run}"]
        row = self.rows.get((corpus, seed, name), {})
        if row.get("commands") != [shlex.join(["python", "train.py", *given])]:
            shutil.rmtree(run, ignore_errors=True)
        self.do(corpus, seed, name, [["train.py", *given]], run / "report.html", lambda: trained_facts(run))

    def branch(self, corpus: str, seed: int, step: str, name: str, words: list[str], epochs: int) -> None:
        """A network, trained for so many epochs."""
        every = f"callbacks.identification.every_n_epochs={max(1, epochs // MEASURED)}"
        given = [*SETTINGS[name], *words, *LOSS, *self.corpora[corpus].data]
        self.train(corpus, seed, step, [*given, f"trainer.max_epochs={epochs}", every])

    def tune(self, corpus: str, seed: int, name: str) -> str:
        """The setting of a branch that has the lowest validation error after a part of the epochs."""
        for tried, words in TRIES[name].items():
            epochs = max(1, self.corpora[corpus].epochs[name] // TRIED)
            self.branch(corpus, seed, f"{name} {tried}", name, words, epochs)
        return min(TRIES[name], key=lambda tried: self.rows[corpus, seed, f"{name} {tried}"]["error_rate"])

    def branches(self, corpus: str, seed: int, settings: dict[str, str]) -> None:
        """Both networks, and what they make of the corpus."""
        for name in BRANCHES:
            self.branch(corpus, seed, name, name, TRIES[name][settings[name]], self.corpora[corpus].epochs[name])
            run, saved = folder_of(corpus, seed, name), folder_of(corpus, seed, f"{name}.npz")
            keep = [f"ckpt={run}", "split=val", f"save_embeddings={saved}", "save_corpus=true", "bootstrap_draws=0"]
            self.do(corpus, seed, f"{name} embeddings", [["evaluate.py", *keep]], saved)

    def fusions(self, corpus: str, seed: int) -> None:
        """Every kind, on the embeddings."""
        given = ", ".join(f"{name}: {folder_of(corpus, seed, f'{name}.npz')}" for name in BRANCHES)
        starts = ", ".join(f"{name}: {{ckpt: {folder_of(corpus, seed, name)}}}" for name in BRANCHES)
        words = ["experiment=fusion", "data=embeddings", *LOSS, f"data.branches={{{given}}}"]
        words += ["sampler.speakers_per_batch=16"]
        words += [f"model.branches={{{starts}}}", f"trainer.max_epochs={self.corpora[corpus].epochs['fusion']}"]
        for kind in KINDS:
            self.train(corpus, seed, kind, [*words, f"model.fusion.kind={kind}"])

    def test(self, corpus: str, seed: int, kind: str) -> None:
        """The test utterances and the trials, by the branches and by the chosen fusion."""
        one, given = self.corpora[corpus], {}
        for name in BRANCHES:
            saved, run = folder_of(corpus, seed, f"{name}_trials.npz"), folder_of(corpus, seed, name)
            given[name] = saved
            words = ["evaluate.py", f"ckpt={run}", "bootstrap_draws=0"]
            commands = [
                [*words, "split=test"],
                [*words, *one.listed, f"save_embeddings={saved}"],
                [*words, *one.listed, "scoring=pair_mlp"],
            ]
            self.do(corpus, seed, f"{name} test", commands, saved)
        run = folder_of(corpus, seed, kind)
        words = ["evaluate.py", f"ckpt={run}", "bootstrap_draws=0"]
        corpus_files = ", ".join(f"{name}: {folder_of(corpus, seed, f'{name}.npz')}" for name in BRANCHES)
        trial_files = ", ".join(f"{name}: {path}" for name, path in given.items())
        listed = [f"embeddings={{{trial_files}}}", f"trials={one.trials}"]
        commands = [
            [*words, "split=test", f"embeddings={{{corpus_files}}}"],
            [*words, *listed],
            [*words, *listed, "scoring=pair_mlp"],
        ]
        self.do(corpus, seed, f"{kind} test", commands, run / "scores" / f"{one.trials.stem}_pair_mlp.csv")


def trained_facts(run: Path) -> dict:
    """What is known of a run after its training: its best epoch, and where it was trained."""
    table = read_metrics(run / "metrics" / "val_metrics.csv")
    best = int(table["error_rate"].argmin())
    facts = json.loads((run / "environment.json").read_text())
    return {
        "error_rate": float(table["error_rate"][best]),
        "epoch": int(table["epoch"][best]),
        "epochs": int(table["epoch"][-1]),
        "parameters": facts["parameters"],
        "machine": f"{facts['platform']}, {facts['cpus']} CPUs, {facts['device']}, {facts['precision']}",
        "commit": (facts["git"] or {"commit": "unknown"})["commit"][:10],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, metavar="DIR", help="folder of real speech")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--corpora", nargs="+", metavar="NAME", help="embedded, speech; both with DIR by default")
    parser.add_argument("--epochs", type=int, help="of every run, for a short trial")
    arguments = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    known = corpora(arguments.speech and arguments.speech.resolve())
    unknown = set(arguments.corpora or known) - set(known)
    if unknown:
        parser.error(f"--corpora: {', '.join(unknown)} is not among {', '.join(known)}; real speech needs --speech DIR")
    if arguments.epochs is not None:
        known = {name: replace(one, epochs=dict.fromkeys(one.epochs, arguments.epochs)) for name, one in known.items()}
    study = Study({name: known[name] for name in arguments.corpora or known})
    for corpus in study.corpora:
        settings = {name: study.tune(corpus, arguments.seeds[0], name) for name in BRANCHES}
        for seed in arguments.seeds:
            study.branches(corpus, seed, settings)
            study.fusions(corpus, seed)
    kinds = {corpus: chosen_kind(study.rows, corpus, arguments.seeds, KINDS) for corpus in study.corpora}
    for corpus, kind in kinds.items():
        for seed in arguments.seeds:
            study.test(corpus, seed, kind)
    outcomes = [
        Outcome(
            corpus,
            study.corpora[corpus].trials.stem,
            kind,
            {seed: {name: folder_of(corpus, seed, name) for name in (*BRANCHES, kind)} for seed in arguments.seeds},
        )
        for corpus, kind in kinds.items()
    ]
    command = shlex.join(["python", "benchmarks/fusion.py", *sys.argv[1:]])
    text = markdown(command, study.rows, outcomes, KINDS, TRIES)
    places = {f"{ROOT}/": "", str(known["embedded"].root.parent): "CACHE"}
    if arguments.speech is not None:
        places |= {str(arguments.speech.resolve()): "DIR", str(arguments.speech): "DIR"}
    for place, word in places.items():  # of this machine
        text = text.replace(place, word)
    path = RESULTS.with_name(f"fusion_{date.today()}.md")
    path.write_text(text)
    print(path)


if __name__ == "__main__":
    main()
