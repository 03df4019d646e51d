"""`speakerlab inspect`: what a trained network listens to, drawn.

speakerlab inspect attention outputs/ecapa_aam/2026-01-31_12-00-00            # on its first development utterances
speakerlab inspect attention best.ckpt hello.wav interview.flac --to pictures
speakerlab inspect filters outputs/sincnet_aam/2026-01-31_12-00-00
speakerlab inspect fusion outputs/fusion_aam/2026-01-31_12-00-00               # whom it trusts, clean, in noise ...
speakerlab inspect fusion best.ckpt hello.wav --noise /data/musan/noise --snr 15,5
"""

import argparse
from pathlib import Path

from speakerlab import InputError
from speakerlab.cli.data import Parser

UTTERANCES = 3  # of the run's own, where no file is given
FUSION_UTTERANCES = 100
MOST_SECONDS = 10.0  # of an utterance that a fusion's branches hear, in every condition


def add_commands(commands) -> None:
    """Add `inspect attention`, `inspect filters` and `inspect fusion`."""
    family = commands.add_parser(
        "inspect", help="draw a trained network's attention, its filters, or which branch it trusts"
    )
    inspect = family.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    attention = inspect.add_parser(
        "attention",
        help="attention over the mel spectrogram of utterances",
        description="Draw how much each moment of an utterance counts, for networks whose pooling weighs frames.",
    )
    _add_common(attention, "attention")
    attention.add_argument(
        "words",
        nargs="*",
        metavar="FILE",
        help=f"audio (default: the first {UTTERANCES} of the run's development utterances)",
    )
    attention.add_argument(
        "--branch", metavar="NAME", help="of a fusion (default: the first whose pooling weighs frames)"
    )
    attention.set_defaults(run=run_attention)
    filters = inspect.add_parser(
        "filters",
        help="filters on the waveform, in frequency against mel",
        description="Draw the band-pass filters of SincNet or RawNet3, as they began and as they were learned.",
    )
    _add_common(filters, "filters")
    filters.set_defaults(run=run_filters)
    fusion = inspect.add_parser(
        "fusion",
        help="the weights of a fusion's branches, by condition",
        description="Draw how far a fusion trusts each of its branches: in clean speech, in noise, by telephone.",
    )
    _add_common(fusion, "fusion")
    fusion.add_argument(
        "words",
        nargs="*",
        metavar="FILE",
        help=f"audio (default: {FUSION_UTTERANCES} of the run's development utterances)",
    )
    fusion.add_argument("--snr", default="20,10,0", metavar="DB,DB", help="of the noise (default: 20,10,0)")
    fusion.add_argument("--noise", metavar="DIR", help="recordings of noise (default: pink noise that is made)")
    fusion.set_defaults(run=run_fusion)


def _add_common(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("checkpoint", metavar="CKPT", help="a checkpoint, or a run's folder (its best checkpoint)")
    parser.add_argument(
        "--to", metavar="DIR", type=Path, help=f"folder of the page (default: {name}/ in the run's folder)"
    )
    parser.add_argument(
        "--trust", metavar="CLASS", action="append", default=[], help="of your own, that the checkpoint may name"
    )


def run_attention(chosen: argparse.Namespace) -> None:
    """Write the page; print where it is and how even the attention is."""
    from speakerlab.cli.reporting import hear
    from speakerlab.cli.tables import show, text_table
    from speakerlab.data.utterances import measure
    from speakerlab.inference.attention import attentive_branch, attentive_pooling
    from speakerlab.reports.attention import share_of_half, write_attention

    checkpoint, contents, network = _load(chosen)
    network = attentive_branch(network, chosen.branch)
    pooling = type(attentive_pooling(network)).__name__
    files = [Path(file).expanduser() for file in chosen.words] or _own_utterances(checkpoint)[:UTTERANCES]
    measure(files)  # a file that can't be used stops here, with a line
    sample_rate = contents["config"]["loader"]["sample_rate"]
    utterances = hear(network, files, sample_rate)
    facts = {
        "checkpoint": checkpoint,
        "pooling": f"{pooling}, {len(utterances[0].relative)} weightings",
        "attention": "of a frame: its weight as a multiple of what every frame has in an average over time",
        "line": "the mean attention of all weightings",
    }
    folder = chosen.to or _folder(checkpoint, "attention")
    page = write_attention(folder, f"Attention of {checkpoint}", utterances, sample_rate, facts)
    rows = {
        heard.name: {
            "seconds": f"{heard.seconds:.2f}",
            "half of the attention on": f"{100 * share_of_half(heard.relative.mean(axis=0)):.0f} % of the frames",
        }
        for heard in utterances
    }
    show(text_table(facts["pooling"], rows), f"page     {page}", f"figures  {folder / '01.png'} ...")


def run_filters(chosen: argparse.Namespace) -> None:
    """Write the page; print where it is."""
    from speakerlab.build import last_epoch
    from speakerlab.cli.tables import show
    from speakerlab.reports.filters import sinc_bands, write_filters

    checkpoint, contents, network = _load(chosen)
    bands = sinc_bands(network)
    folder = chosen.to or _folder(checkpoint, "filters")
    facts = {"checkpoint": checkpoint, "epochs": last_epoch(contents) or "unknown"}
    page = write_filters(folder, f"Filters of {checkpoint}", bands, facts)
    show(f"page     {page}", f"figure   {folder / 'filters.png'}")


def run_fusion(chosen: argparse.Namespace) -> None:
    """Write the page; print the table and where it is."""
    import numpy as np

    from speakerlab.cli.progress import progress_bar
    from speakerlab.cli.tables import show, text_table
    from speakerlab.data.utterances import PartDataset
    from speakerlab.inference.branch_weights import make_conditions, weigh
    from speakerlab.reports.branch_weights import weight_rows, write_weights

    snrs = _decibels(chosen.snr)
    checkpoint, contents, network = _load(chosen)
    utterances = _given_or_own(chosen.words, checkpoint, contents["config"])
    rows = np.unique(np.linspace(0, len(utterances) - 1, FUSION_UTTERANCES).round().astype(int))
    utterances.measured(rows)  # a file that can't be used stops here, with a line
    sample_rate = contents["config"]["loader"]["sample_rate"]
    conditions = make_conditions(snrs, _noise(chosen.noise, sample_rate), sample_rate)
    with progress_bar("utterances", unit="utterances") as progress:

        def waveforms():
            for done, (_, waveform) in enumerate(PartDataset(utterances, rows, sample_rate)):
                progress(done, len(rows))
                yield waveform[: round(MOST_SECONDS * sample_rate)]

        found = weigh(network, waveforms(), conditions)
    names, folder = list(network.branches), chosen.to or _folder(checkpoint, "fusion")
    facts = {
        "checkpoint": checkpoint,
        "fusion": f"{network.fusion.kind} of {' and '.join(names)}",
        "utterances": f"{len(rows):,} of {len(utterances):,}, of each at most {MOST_SECONDS:g} s",
        "noise": chosen.noise or "pink noise, the same at each ratio",
    }
    page = write_weights(folder, f"Branches of {checkpoint}", names, found, facts)
    table = text_table(facts["fusion"], weight_rows(names, found, with_range=False))
    table.columns[0].no_wrap = True  # a narrow terminal leaves the conditions whole
    show(table, f"page     {page}", f"figure   {folder / 'weights.png'}")


def _given_or_own(words: list[str], checkpoint: Path, config: dict):
    """The files of the command line, or the utterances that the run was chosen by: of trials, or to identify. Of a run
    on saved embeddings, which knows no audio, those of a branch's run."""
    from speakerlab.data.utterances import utterances_in_files

    if words:
        return utterances_in_files(words, [Path(word).expanduser() for word in words])
    branches = [Path(node["ckpt"]) for node in config["model"].get("branches", {}).values() if node["ckpt"]]
    for one in (checkpoint, *branches):
        found = _judged_by(one)
        if found is not None:
            return found
    raise InputError(f"{checkpoint} lies in no run with development utterances that have audio: give audio FILEs")


def _judged_by(checkpoint: Path):
    """The utterances with audio that a checkpoint's run was chosen by; None where there are none."""
    from speakerlab.data.development import read_development_trials, read_utterances
    from speakerlab.data.utterances import utterances_in_files, utterances_of_rows
    from speakerlab.inference.model import run_folder

    run = run_folder(checkpoint) or checkpoint.parent
    try:
        trials, files = read_development_trials(run)
        return utterances_in_files(trials.utterances, files) if files else None
    except InputError:
        try:
            rows = read_utterances(run, "val")
        except InputError:
            return None
        return None if "" in rows["root"].unique().to_pylist() else utterances_of_rows(rows)


def _decibels(text: str) -> list[float]:
    import math

    try:
        snrs = [float(part) for part in text.split(",")]
    except ValueError:
        snrs = []
    if not snrs or not all(map(math.isfinite, snrs)):
        raise InputError(f"--snr {text} must be ratios in dB, such as 20,10,0")
    return snrs


def _noise(folder: str | None, sample_rate: int):
    """Where noise is taken from; see `inference.branch_weights`."""
    from functools import partial
    from tempfile import TemporaryDirectory

    from speakerlab.augment.noise import AdditiveNoise
    from speakerlab.data.audio import read_audio
    from speakerlab.data.clip_folders import clips_below
    from speakerlab.inference.branch_weights import pink_noise, recorded_noise

    if folder is None:
        return pink_noise
    with TemporaryDirectory() as cache:
        try:
            clips, _ = clips_below(folder, "--noise", cache)
        except InputError as error:
            raise InputError(str(error).replace("--noise.folder=", "--noise ")) from error
    read = partial(read_audio, sample_rate=sample_rate)
    return recorded_noise(AdditiveNoise(folder, clips, read, snr_db=(0.0, 0.0), sample_rate=sample_rate))


def _load(chosen: argparse.Namespace) -> tuple[Path, dict, object]:
    """The checkpoint's path, its contents and its network, in evaluation mode."""
    from speakerlab.build import load_checkpoint, network_from_checkpoint
    from speakerlab.inference.model import find_checkpoint

    checkpoint = find_checkpoint(chosen.checkpoint)
    contents = load_checkpoint(checkpoint)
    return checkpoint, contents, network_from_checkpoint(contents, tuple(chosen.trust))


def _own_utterances(checkpoint: Path) -> list[Path]:
    from speakerlab.data.development import read_development_trials
    from speakerlab.inference.model import run_folder

    try:
        _, files = read_development_trials(run_folder(checkpoint) or checkpoint.parent)
    except InputError:
        files = []
    if not files:  # of saved embeddings
        raise InputError(f"{checkpoint} lies in no run with development trials: give audio FILEs")
    return files


def _folder(checkpoint: Path, name: str) -> Path:
    from speakerlab.inference.model import run_folder

    run = run_folder(checkpoint)
    return run / name if run else Path("outputs", name, checkpoint.stem)
