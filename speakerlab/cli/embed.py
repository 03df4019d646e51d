"""`speakerlab embed`: embeddings of files, in a file or as JSON.

speakerlab embed voices/ -o voices.npz --model best.ckpt --num-workers 8
speakerlab embed *.wav -o voices.parquet --relative-to /data/voices
speakerlab embed a.wav --json --model model.onnx
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from speakerlab import InputError
from speakerlab.cli.chosen_model import add_model_options, load_chosen, model_source, print_json, say, tell

if TYPE_CHECKING:
    import numpy as np

    from speakerlab.inference.many_files import EmbeddedFiles

STATUSES = """
exit status:
  0  all files are embedded
  1  some could not be used, a line each says why, and the others are written; or
     something given is wrong
"""


def add_commands(commands) -> None:
    """Add `embed`."""
    parser = commands.add_parser(
        "embed",
        help="embeddings of files as .npz, .parquet, .npy, .ark, .safetensors or .pkl, or as JSON",
        description="Embed recordings of any format, rate and number of channels. `evaluate.py embeddings=`\n"
        "and `train.py data=embeddings` read what this writes. Files that can't be used are\n"
        "reported and left out.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="recordings, or folders: all audio below them")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="its suffix is the format; a folder gets embeddings.npy with names"
    )
    parser.add_argument(
        "--relative-to", metavar="DIR", type=Path, help="names are relative to it (default: as given, or found below)"
    )
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="files at once (default: 16)")
    parser.add_argument("--num-workers", type=int, default=0, metavar="N", help="processes that decode (default: none)")
    add_model_options(parser)
    parser.add_argument(
        "--precision",
        default="float32",
        metavar="NAME",
        help="bf16 multiplies in bfloat16: faster on processors with instructions for it (default: float32)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON object a file; without -o with the embedding in it"
    )
    parser.epilog += STATUSES
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Embed, write, report."""
    if chosen.output is None and not chosen.json:
        raise InputError("where to? Give -o FILE, such as -o voices.npz, or --json to print embeddings")
    files = named_files(chosen.files, chosen.relative_to)  # name -> path

    from speakerlab.cli.progress import progress_bar
    from speakerlab.data.embedding_files.formats import place_of

    place = None if chosen.output is None else place_of(chosen.output, "--output")
    recognizer = load_chosen(chosen, precision=chosen.precision)
    with progress_bar("embed", stream=sys.stderr) as progress:
        found = recognizer.embed_many(list(files.values()), chosen.batch_size, chosen.num_workers, progress)
    if place is not None and found.names:
        write(place, found, files, checkpoint_of(chosen.model))
    for name, path in files.items():
        if path in found.faults:
            tell(f"not embedded: {name}: {found.faults[path]}")
        say(f"{name}: {note}" for note in found.notes.get(path, ()))
    if chosen.json:
        print_lines(found, files, with_rows=place is None)
    summary = f"{len(found.names):,} of {len(files):,} files embedded"
    print(summary + (f": {place}" if place and found.names else ""), file=sys.stderr if chosen.json else sys.stdout)
    sys.exit(1 if found.faults else 0)


def named_files(given: list[str], relative_to: Path | None) -> dict[str, str]:
    """Name -> path of each recording, once, in the order given.

    Raises:
        InputError: if a folder holds none, or one is not below `relative_to`.
    """
    paths = recordings_in(given)
    if relative_to is None:
        return {path: path for path in paths}
    root = relative_to.expanduser().absolute()
    named: dict[str, str] = {}
    for path in paths:
        absolute = Path(os.path.normpath(Path(path).expanduser().absolute()))
        if not absolute.is_relative_to(root):
            raise InputError(f"{path}: does not lie below --relative-to {relative_to}")
        named.setdefault(absolute.relative_to(root).as_posix(), path)
    return named


def recordings_in(given: list[str]) -> list[str]:
    """Each path once, in the order given; folders stand for all audio below them.

    Raises:
        InputError: if a folder holds none.
    """
    paths: dict[str, None] = {}
    for one in given:
        paths |= dict.fromkeys(_below(one) if Path(one).expanduser().is_dir() else [one])
    return list(paths)


def _below(folder: str) -> list[str]:
    from speakerlab.data.tree import list_audio

    found = list_audio(Path(folder).expanduser())["path"].to_pylist()
    if not found:
        raise InputError(f"{folder}: holds no audio")
    return [str(Path(folder, path)) for path in found]


def checkpoint_of(model: str | None) -> str | None:
    """The path that is kept beside embeddings, where the model is a checkpoint of this machine."""
    path = Path(model_source(model, None)[0]).expanduser()
    if path.is_dir() and (path / "checkpoints").is_dir():
        from speakerlab.inference.model import find_checkpoint

        path = find_checkpoint(str(path))
    return str(path.absolute()) if path.suffix == ".ckpt" and path.is_file() else None


def write(place: Path, found: "EmbeddedFiles", files: dict[str, str], checkpoint: str | None) -> None:
    """The file of embeddings, and beside it where the checkpoint is."""
    from speakerlab.data.embedding_files.embeddings import Embeddings
    from speakerlab.data.embedding_files.formats import write_embeddings

    name_of = {path: name for name, path in files.items()}
    names = [name_of[path] for path in found.names]
    write_embeddings(place, Embeddings(names, found.rows, None, str(place), checkpoint=checkpoint))


def print_lines(found: "EmbeddedFiles", files: dict[str, str], with_rows: bool) -> None:
    """A line a file, in the order given."""
    row_of: dict[str, int] = {path: row for row, path in enumerate(found.names)}
    for name, path in files.items():
        if path in found.faults:
            print_json({"file": name, "error": found.faults[path]})
            continue
        row, seconds = row_of[path], float(found.seconds[row_of[path]])
        embedding: dict[str, int | list[float]] = {"row": row}
        if with_rows:
            embedding = {"embedding": _numbers(found.rows[row])}
        print_json({"file": name, "seconds": round(seconds, 3), **embedding, "notes": found.notes.get(path, ())})


def _numbers(row: "np.ndarray") -> list[float]:
    """As many digits as float32 has."""
    return [float(str(value)) for value in row]
