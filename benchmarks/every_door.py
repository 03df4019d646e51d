"""One trained model used by every door on the same recordings: do the scores agree, and whom does it recognise?

    python benchmarks/every_door.py --speech DIR --run outputs/NAME/DATE
    python benchmarks/every_door.py --speech DIR

The scores of the same pairs by the Python API with PyTorch, with ONNX and with an exported folder, by the command line
with PyTorch and with ONNX, by saved embeddings and by the web page. Then all development speakers are enrolled and
their other recordings identified. Without --run, a model is trained first as benchmarks/real_speech.py does it. DIR
holds dev/so762/SPEAKER/*, and for the training what benchmarks/real_speech.py says. Commands are printed as they run,
and those that compare two recordings are started anew for every pair. Writes benchmarks/every_door_<date>.md.
"""

import argparse
import json
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from commands import ANOTHER, SAME, SPEAKERLAB, ask, machine
from gradio_client import Client, handle_file
from real_speech import run_seed

from speakerlab.data.tree import list_audio
from speakerlab.inference import SpeakerRecognizer
from speakerlab.inference.card import ModelCard
from speakerlab.scoring.cosine import unit_rows

ENROLLED = 3  # recordings of a speaker
TOP = 5
ALLOWED = 1e-3
PACKAGES = ("torch", "onnxruntime", "gradio", "numpy", "soundfile", "soxr")


class Pair(NamedTuple):
    """Two recordings, and whether one speaker is in both."""

    first: Path
    second: Path
    same: bool


class Identified(NamedTuple):
    """What came of one recording: its speaker, and everybody who is enrolled, the nearest first, with scores."""

    speaker: str
    names: list[str]
    scores: list[float]


class Models(NamedTuple):
    """The same model in its three shapes."""

    run: Path
    onnx: Path
    folder: Path


def recordings(folder: Path) -> dict[str, list[Path]]:
    """Speaker -> files, both in order."""
    found: dict[str, list[Path]] = {}
    for name in sorted(list_audio(folder)["path"].to_pylist()):
        found.setdefault(name.split("/")[0], []).append(folder / name)
    return dict(sorted(found.items()))


def draw_pairs(files: dict[str, list[Path]], count: int) -> list[Pair]:
    """Half of them of one speaker; the same pairs each time."""
    generator, pairs = np.random.default_rng(0), []
    for number in range(count):
        one, other = generator.choice(sorted(files), 2, replace=False)
        if number < count // 2:
            first, second = generator.choice(len(files[one]), 2, replace=False)
            pairs.append(Pair(files[one][first], files[one][second], True))
        else:
            pairs.append(Pair(generator.choice(files[one]), generator.choice(files[other]), False))
    return pairs


def by_api(model: Path, pairs: list[Pair]) -> list[float]:
    print(f"SpeakerRecognizer.load({str(model)!r}).verify(...), {len(pairs)} times", flush=True)
    recognizer = SpeakerRecognizer.load(model)
    return [recognizer.verify(pair.first, pair.second).score for pair in pairs]


def by_command(model: Path, pairs: list[Pair]) -> list[float]:
    """Each pair in a process of its own, whose exit status must say what its answer does."""
    scores = []
    for pair in pairs:
        found = ask("verify", pair.first, pair.second, "--model", model, "--json", statuses=(SAME, ANOTHER))
        answer = json.loads(found.stdout)
        if answer["same"] is not (found.returncode == SAME):
            raise SystemExit(f"exit status {found.returncode}, but {found.stdout}")
        scores.append(answer["score"])
    return scores


def by_saved_embeddings(model: Path, pairs: list[Pair], folder: Path) -> list[float]:
    """All files embedded at once, of different lengths together; cosines of what is read back from the disk."""
    files = sorted({file for pair in pairs for file in pair[:2]})
    target = folder / "embeddings.npz"
    ask("embed", *files, "-o", target, "--model", model)
    with np.load(target) as saved:
        row_of = dict(zip(saved["utterances"].tolist(), unit_rows(saved["embeddings"]), strict=True))
    return [float(row_of[str(pair.first)] @ row_of[str(pair.second)]) for pair in pairs]


@contextmanager
def page(model: Path, gallery: Path) -> Iterator[str]:
    """The address of the web page, in a process of its own, while it is served."""
    command = ["demo", str(model), "--gallery", str(gallery), "--per-minute", "1000"]
    print("speakerlab", shlex.join(command), flush=True)
    with subprocess.Popen([*SPEAKERLAB, *command], stdout=subprocess.PIPE, text=True) as process:
        address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        try:
            if address is None:
                raise SystemExit(f"the page ended with exit status {process.wait()}")
            yield address[0]
        finally:
            process.terminate()


def by_page(model: Path, pairs: list[Pair], gallery: Path) -> list[float]:
    """What its answer shows, rounded as it is there; the files are uploaded as a browser uploads them."""
    scores = []
    with page(model, gallery) as address:
        client = Client(address, verbose=False)
        for pair in pairs:
            found = client.predict(handle_file(pair.first), handle_file(pair.second), 0.5, api_name="/compare")
            scores.append(float(re.search(r'data-fact="score">([^<]*)<', found[0])[1]))
    return scores


def scores_by_door(models: Models, pairs: list[Pair], folder: Path) -> dict[str, np.ndarray]:
    """Door -> `(pairs,)` scores."""
    doors: dict[str, Callable[[], list[float]]] = {
        "Python API, PyTorch": lambda: by_api(models.run, pairs),
        "Python API, ONNX": lambda: by_api(models.onnx, pairs),
        "Python API, exported folder": lambda: by_api(models.folder, pairs),
        "`speakerlab verify --json`, PyTorch": lambda: by_command(models.run, pairs),
        "`speakerlab verify --json`, ONNX": lambda: by_command(models.onnx, pairs),
        "`speakerlab embed`, PyTorch, cosines of the file": lambda: by_saved_embeddings(models.run, pairs, folder),
        "web page, PyTorch": lambda: by_page(models.run, pairs, folder / "page.sqlite"),
    }
    return {name: np.array(use()) for name, use in doors.items()}


def identify_all(run: Path, files: dict[str, list[Path]], gallery: Path) -> list[Identified]:
    """Enrol everybody with the first recordings, and ask for all others."""
    print(f"SpeakerRecognizer.load({str(run)!r}).enroll(...) and .identify(...)", flush=True)
    recognizer = SpeakerRecognizer.load(run, gallery=gallery)
    for speaker, own in files.items():
        recognizer.enroll(speaker, own[:ENROLLED])
    found = []
    for speaker, own in files.items():
        for file in own[ENROLLED:]:
            candidates = recognizer.identify(file, top=len(files)).candidates
            found.append(Identified(speaker, [one.name for one in candidates], [one.score for one in candidates]))
    return found


def identify_some_by_command(onnx: Path, files: dict[str, list[Path]], gallery: Path) -> list[Identified]:
    """The next recording of each speaker, by a process of its own from the gallery that the API filled."""
    found = []
    for speaker, own in files.items():
        command = ["identify", own[ENROLLED], "--top", len(files), "--model", onnx, "--gallery", gallery, "--json"]
        candidates = json.loads(ask(*command, statuses=(SAME, ANOTHER)).stdout)["candidates"]
        found.append(Identified(speaker, [one["name"] for one in candidates], [one["score"] for one in candidates]))
    return found


def doors_lines(scores: dict[str, np.ndarray], pairs: list[Pair], threshold: float | None) -> list[str]:
    """The tables of the scores."""
    reference = next(iter(scores.values()))
    lines = ["| door | largest difference from the first | mean difference |", "|---|---:|---:|"]
    for name, found in scores.items():
        apart = np.abs(found - reference)
        lines.append(f"| {name} | {apart.max():.1e} | {apart.mean():.1e} |" if apart.any() else f"| {name} | 0 | 0 |")
    every = np.stack(list(scores.values()))  # (doors, pairs)
    largest = max(float(np.abs(one - other).max()) for one, other in combinations(every, 2))
    held = "which holds" if largest <= ALLOWED else "which does NOT hold"
    lines += [
        "",
        f"**The largest difference between any two doors is {largest:.1e}**; at most {ALLOWED:g} is asked for,",
    ]
    lines += [f"{held}. The page shows four digits, and so does not tell differences under 5e-5.", ""]
    lines += ["| pair | speaker | score by the first door | all doors within |", "|---|---|---:|---:|"]
    for number, pair in enumerate(pairs):
        column = every[:, number]
        names = f"{pair.first.parent.name}/{pair.first.stem}, {pair.second.parent.name}/{pair.second.stem}"
        told = "one" if pair.same else "two"
        lines.append(f"| {names} | {told} | {column[0]:.4f} | {np.ptp(column):.1e} |")
    if threshold is not None:
        right = sum((score >= threshold) is pair.same for score, pair in zip(reference.tolist(), pairs, strict=True))
        lines += ["", f"At the model's threshold, {threshold:.4f}, {right} of {len(pairs)} pairs are decided rightly."]
    return lines


def identified_lines(found: list[Identified], by_command: list[Identified], threshold: float | None) -> list[str]:
    """The table of the identification, and what the command line says of some of it."""
    speakers, first = len(found[0].names), [one.names[0] == one.speaker for one in found]
    few = [one.speaker in one.names[:TOP] for one in found]
    rows = {"its speaker is the nearest": first, f"its speaker is among the nearest {TOP}": few}
    if threshold is not None:
        accepted = [one.scores[0] >= threshold for one in found]
        others = [next(score for name, score in zip(one.names, one.scores) if name != one.speaker) for one in found]
        rows |= {
            "accepted at the model's threshold, as its speaker": np.logical_and(first, accepted),
            "accepted, as somebody else": np.logical_and(np.logical_not(first), accepted),
            "taken for a stranger": np.logical_not(accepted),
            "accepted as somebody if its speaker were not enrolled": np.array(others) >= threshold,
        }
    lines = [f"| of {len(found)} recordings of {speakers} speakers | count | share |", "|---|---:|---:|"]
    lines += [f"| {name} | {np.sum(hits)} | {100 * np.mean(hits):.1f} % |" for name, hits in rows.items()]
    whole = {one.speaker: one for one in reversed(found)}  # the first recording of each speaker that is not enrolled
    alike = sum(one.names[0] == whole[one.speaker].names[0] for one in by_command)
    scores = [dict(zip(one.names, one.scores, strict=True)) for one in by_command]
    apart = max(
        abs(score - by_name[name])
        for one, by_name in zip(by_command, scores, strict=True)
        for name, score in zip(whole[one.speaker].names, whole[one.speaker].scores, strict=True)
    )
    return [
        *lines,
        "",
        "`speakerlab identify --json` with ONNX, from the same gallery, for one recording of each speaker: the same",
        f"nearest speaker in {alike} of {len(by_command)}, all their scores within {apart:.1e}.",
    ]


def markdown(command: str, card: ModelCard, doors: list[str], identified: list[str]) -> str:
    """The dated report."""
    measured = ", ".join(f"{name} {value:.4g}" for name, value in card.metrics.items())
    lines = [
        f"# One model by every door, {date.today()}",
        "",
        f"`{command}`",
        "",
        f"{card.encoder}, {card.parameters:,} parameters, trained on {card.trained_on}.",
        f"Measured while it trained: {measured or 'nothing'}. Threshold: {card.threshold_from}.",
        "",
        "## Scores of the same pairs",
        "",
        *doors,
        "",
        "## Identification",
        "",
        f"Each speaker is enrolled with the first {ENROLLED} recordings and asked for with all others. None of them",
        "was trained on, but a threshold of development trials is of trials among them. All recordings of a speaker",
        "are of one session, which makes it easier than it would be on another day.",
        "",
        *identified,
        "",
        f"None of these numbers is a time. {machine(PACKAGES)}",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, metavar="DIR")
    parser.add_argument("--run", type=Path, help="a run's folder or checkpoint; without it one is trained")
    parser.add_argument("--pairs", type=int, default=20, help="half of them of one speaker (default: 20)")
    arguments = parser.parse_args()
    if arguments.pairs < 2:
        parser.error("--pairs: two at least")
    training = argparse.Namespace(speech=arguments.speech, experiment="real_speech", overrides=[])
    run = arguments.run or run_seed(training, seed=1)
    files = recordings(arguments.speech / "dev" / "so762")
    pairs = draw_pairs(files, arguments.pairs)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = Models(run, folder / "model.onnx", folder / "exported")
        ask("export", run, "--to", "onnx", "-o", models.onnx)
        ask("export", run, "--to", "folder", "-o", models.folder)
        card = SpeakerRecognizer.load(models.onnx).card
        doors = doors_lines(scores_by_door(models, pairs, folder), pairs, card.threshold)
        gallery = folder / "gallery.sqlite"
        found = identify_all(run, files, gallery)
        some = identify_some_by_command(models.onnx, files, gallery)
    command = "python benchmarks/every_door.py --speech DIR" + (" --run RUN" if arguments.run else "")
    path = Path(__file__).with_name(f"every_door_{date.today()}.md")
    path.write_text(markdown(command, card, doors, identified_lines(found, some, card.threshold)), encoding="utf-8")
    print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
