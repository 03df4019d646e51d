"""`speakerlab shard`: a manifest's audio as tar files, to be streamed from slow disks and web servers."""

import argparse
import re
import shlex
from pathlib import Path

from speakerlab.cli.manifests import HELP, table_at
from speakerlab.data import usable_cpus


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `shard`."""
    parser = commands.add_parser(
        "shard",
        help="pack a manifest into tar shards",
        description="Pack a manifest's utterances into WebDataset tar shards with an index, for `train.py data=shards`."
        " Interrupted, the same command goes on and makes only what is missing.",
    )
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help=HELP)
    parser.add_argument("--to", required=True, metavar="DIR", help="folder of the shards")
    parser.add_argument(
        "--format",
        default="flac",
        metavar="FORMAT",
        help="flac (16 bits, default), opus (32 kbit/s, not lossless), or copy (files as they are)",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--shard-size", default="1GB", metavar="SIZE", help="about how large a shard is; default 1GB")
    size.add_argument("--shard-items", type=int, metavar="N", help="utterances a shard, in place of a size")
    parser.add_argument("--split", metavar="NAME", help="only rows of this split")
    parser.add_argument(
        "--heldout-speakers",
        metavar="N|FILE",
        help="keep so many speakers, or those that the file names one a line, out of the shards, and draw development "
        "trials over them",
    )
    parser.add_argument("--heldout-trials", type=int, default=10000, metavar="N", help="default 10000")
    parser.add_argument("--seed", type=int, default=1, help="of the order and of the held-out speakers; default 1")
    parser.add_argument("--max-bad-share", type=float, default=0.01, metavar="SHARE", help="default 0.01")
    parser.add_argument("--workers", type=int, default=usable_cpus(), metavar="N", help="processes; default: cores")
    parser.set_defaults(run=run, goes_on=True)


def run(arguments: argparse.Namespace) -> None:
    """Pack, and say what came of it."""
    from speakerlab.cli.progress import progress_bar
    from speakerlab.cli.tables import show
    from speakerlab.data.amounts import counted
    from speakerlab.data.shards.heldout import HELDOUT, split_heldout, write_heldout
    from speakerlab.data.shards.packing import UNREADABLE, Packing, check_apart_from_sources, pack
    from speakerlab.data.splits import rows_of_splits

    packing = Packing(
        audio_format=arguments.format,
        shard_items=arguments.shard_items,
        shard_bytes=parse_size(arguments.shard_size),
        seed=arguments.seed,
        max_bad_share=arguments.max_bad_share,
        workers=arguments.workers,
    )
    folder = Path(arguments.to).expanduser().absolute()
    table = table_at(arguments.manifest)
    check_apart_from_sources(table, Path(arguments.manifest), folder)
    if arguments.split is not None:
        table = rows_of_splits(table, [arguments.split], str(arguments.manifest))
    held_out = None
    if arguments.heldout_speakers is not None:
        table, held_out = split_heldout(table, arguments.heldout_speakers, arguments.seed)
    with progress_bar("packing") as progress:
        result = pack(table, folder, packing, progress)
    index = result.index
    size = sum(shard.bytes for shard in index.shards)
    lines = [
        f"{len(index):,} utterances of {len(index.speakers):,} speakers in {counted(len(index.shards), 'shard')}, "
        f"{size / 1e9:.2f} GB, of which this run made {result.made:,}"
    ]
    if result.unreadable:
        lines.append(f"left out {len(result.unreadable):,} that can't be read, listed in {folder / UNREADABLE}")
    if held_out is not None:
        with progress_bar("held-out speakers") as progress:
            bad = write_heldout(
                held_out,
                folder,
                packing.audio_format,
                arguments.heldout_trials,
                packing.seed,
                packing.workers,
                progress,
            )
        note = f", {len(bad):,} of them unreadable (such as {bad[0][1]}: {bad[0][2]})" if bad else ""
        lines.append(f"{held_out.num_rows:,} utterances of held-out speakers and trials in {folder / HELDOUT}{note}")
    show(*lines, f"train        python train.py data=shards {as_typed('data.root', folder)}")


def as_typed(key: str, path: Path) -> str:
    """The override `key=path` as a shell and Hydra both read it.

    >>> print(as_typed("data.root", Path("/data/shards")), as_typed("data.root", Path("/my data")))
    data.root=/data/shards 'data.root="/my data"'
    """
    text = str(path)
    if re.search(r"[^\w./~:+-]", text):
        text = '"' + text.replace('"', r"\"") + '"'
    return shlex.quote(f"{key}={text}")


def parse_size(text: str) -> int:
    """Bytes of `500MB`, `1GB`, `1.5 GB` or a plain number.

    >>> parse_size("1.5GB")
    1500000000

    Raises:
        InputError: for any other form.
    """
    from speakerlab import InputError

    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
    if match is None:
        raise InputError(f"--shard-size {text}: give a size such as 500MB or 1GB")
    return round(float(match[1]) * 1000 ** " KMGT".index(match[2] or " "))
