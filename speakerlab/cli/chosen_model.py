"""Which model and which gallery a command works with: one rule for all of them, and how they answer a program."""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from speakerlab import InputError

if TYPE_CHECKING:
    from speakerlab.inference.recognizer import SpeakerRecognizer

VARIABLE = "SPEAKERLAB_MODEL"

MODEL_HELP = """
which model: the first of
  --model PATH
  $SPEAKERLAB_MODEL
{}PATH is a checkpoint, a run's folder (its best checkpoint), an exported folder, an ONNX
file, or https://HOST/PATH#sha256=HEX, which is downloaded once.
"""
REMEMBERED = "  where the gallery's model was last\n"
GALLERY_HELP = """
which gallery: the first of
  --gallery FILE
  $SPEAKERLAB_GALLERY
  ~/.local/share/speakerlab/gallery.sqlite
A gallery belongs to one model.
"""


def add_model_options(parser: argparse.ArgumentParser, with_gallery: bool = False) -> None:
    """Add --model, --device, --trust and, where a gallery is used, --gallery; and how they are chosen to the help."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", metavar="PATH", help="see below")
    if with_gallery:
        add_gallery_option(parser)
    parser.add_argument("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1 (default: a GPU if any)")
    parser.add_argument(
        "--trust", metavar="CLASS", action="append", default=[], help="of your own, that a checkpoint may name"
    )
    parser.epilog = MODEL_HELP.format(REMEMBERED if with_gallery else "") + (GALLERY_HELP if with_gallery else "")


def add_gallery_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gallery", metavar="FILE", help="of enrolled speakers; see below")


def chosen_gallery(chosen: argparse.Namespace) -> Path:
    """The gallery's file, which need not be there."""
    from speakerlab.inference.gallery import default_gallery

    return Path(chosen.gallery).expanduser().absolute() if chosen.gallery else default_gallery().absolute()


def load_chosen(
    chosen: argparse.Namespace, gallery: Path | None = None, precision: str = "float32"
) -> "SpeakerRecognizer":
    """The model, ready to use.

    Args:
        chosen: with the options of `add_model_options`.
        gallery: whose model is taken where none is named; None for commands without.
        precision: see `SpeakerRecognizer.load`.

    Raises:
        InputError: if no model is named, or it can't be used.
    """
    source, told_by = model_source(chosen.model, gallery)

    from speakerlab.cli.progress import progress_bar
    from speakerlab.inference.recognizer import SpeakerRecognizer

    with progress_bar("download", "bytes", sys.stderr) as progress:
        try:
            return SpeakerRecognizer.load(
                source,
                chosen.device,
                gallery=gallery,
                trust=tuple(chosen.trust),
                progress=progress,
                precision=precision,
            )
        except InputError as error:
            raise InputError(f"{error} ({told_by})" if told_by else str(error)) from error


def model_source(given: str | None, gallery: Path | None) -> tuple[str, str]:
    """What to load, and who says so if it was not the command line.

    Raises:
        InputError: if nobody does.
    """
    if given:
        return given, ""
    if os.environ.get(VARIABLE):
        return os.environ[VARIABLE], f"{VARIABLE} names it"
    if gallery is not None:
        from speakerlab.inference.gallery_file import read_origin

        origin = read_origin(gallery)
        if origin is not None and origin.model:
            return origin.model, f"{gallery} was made with it; --model names another place"
    runs = sorted(Path("outputs").glob("*/*/checkpoints/best.ckpt"), key=lambda path: path.stat().st_mtime)
    example = runs[-1].parent.parent if runs else "best.ckpt"
    raise InputError(f"which model? Give --model PATH, such as --model {example}, or set {VARIABLE}")


def say(notes: Iterable[str]) -> None:
    """Notes for a person."""
    for note in notes:
        tell(f"note: {note}")


def tell(line: str) -> None:
    """A line on standard error, whatever names of files it holds."""
    print(line.encode(errors="backslashreplace").decode(), file=sys.stderr)


def print_json(contents: dict) -> None:
    """One object on one line of standard output; in ASCII, so that any name passes any terminal."""
    print(json.dumps(contents, allow_nan=False), flush=True)


def model_facts(recognizer: "SpeakerRecognizer") -> dict:
    """Which model it was, for programs."""
    return {"name": recognizer.card.name, "fingerprint": recognizer.card.fingerprint}
