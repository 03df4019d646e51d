"""`speakerlab inspect`: what a trained network listens to, drawn.

speakerlab inspect attention outputs/ecapa_aam/2026-01-31_12-00-00            # on its first development utterances
speakerlab inspect attention best.ckpt hello.wav interview.flac --to pictures
speakerlab inspect filters outputs/sincnet_aam/2026-01-31_12-00-00
"""

import argparse
from pathlib import Path

from speakerlab import InputError
from speakerlab.cli.data import Parser

UTTERANCES = 3  # of the run's own, where no file is given


def add_commands(commands) -> None:
    """Add `inspect attention` and `inspect filters`."""
    family = commands.add_parser("inspect", help="draw a trained network's attention, or the filters that it learned")
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
    attention.set_defaults(run=run_attention)
    filters = inspect.add_parser(
        "filters",
        help="filters on the waveform, in frequency against mel",
        description="Draw the band-pass filters of SincNet or RawNet3, as they began and as they were learned.",
    )
    _add_common(filters, "filters")
    filters.set_defaults(run=run_filters)


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
    from speakerlab.inference.attention import attentive_pooling
    from speakerlab.reports.attention import share_of_half, write_attention

    checkpoint, contents, network = _load(chosen)
    pooling = type(attentive_pooling(network)).__name__
    files = [Path(file).expanduser() for file in chosen.words] or _own_utterances(checkpoint)
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
    from speakerlab.cli.tables import show
    from speakerlab.reports.filters import sinc_bands, write_filters

    checkpoint, contents, network = _load(chosen)
    bands = sinc_bands(network)
    folder = chosen.to or _folder(checkpoint, "filters")
    facts = {"checkpoint": checkpoint, "epochs": contents.get("epoch", "unknown")}
    page = write_filters(folder, f"Filters of {checkpoint}", bands, facts)
    show(f"page     {page}", f"figure   {folder / 'filters.png'}")


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
    except InputError as error:
        raise InputError(f"{checkpoint} lies in no run with development trials: give audio FILEs") from error
    return files[:UTTERANCES]


def _folder(checkpoint: Path, name: str) -> Path:
    from speakerlab.inference.model import run_folder

    run = run_folder(checkpoint)
    return run / name if run else Path("outputs", name, checkpoint.stem)
