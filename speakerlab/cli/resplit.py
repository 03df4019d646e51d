"""`speakerlab resplit`: another division of a manifest into train, val and test."""

import argparse
from pathlib import Path

from speakerlab import InputError
from speakerlab.cli.manifests import HELP, is_tree, table_at


def add_commands(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "resplit",
        help="divide a manifest anew into train, val and test",
        description="Rewrite a manifest's column split. Same seed, same split, whatever the order of the rows.",
        epilog="speakerlab resplit /data/voxceleb1 --train .6 --val .2 --test .2 --by session --to split "
        "; then: python train.py task=identification data=manifest data.root=split",
    )
    parser.add_argument("manifest", type=Path, help=f"{HELP}; this last with --to")
    for part in ("train", "val", "test"):
        parser.add_argument(f"--{part}", type=float, default=0.0, metavar="SHARE", help=f"share of {part}, such as .2")
    parser.add_argument(
        "--by",
        choices=("utterance", "session", "speaker"),
        default="session",
        help="utterance, session (default): every speaker in every part, for identification; speaker: for verification",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--to", type=Path, metavar="OUT", help="write here; by default the manifest is replaced")
    parser.set_defaults(run=resplit)


def resplit(arguments: argparse.Namespace) -> None:
    """Draw the split, write it, and say what is in each part."""
    from rich.table import Table

    from speakerlab.cli.tables import show
    from speakerlab.data.manifest import MANIFEST, manifest_at, seconds_of, speakers_of, write_manifest
    from speakerlab.data.splits import draw_split, missed_shares, part_of

    if arguments.to is None and is_tree(arguments.manifest.expanduser()):
        raise InputError(f"{arguments.manifest}: holds no {MANIFEST} to rewrite; say by --to where one is written")
    target = arguments.to.expanduser() if arguments.to else manifest_at(arguments.manifest)
    if arguments.to and target.suffix != ".parquet":
        target = target / MANIFEST
    shares = {part: getattr(arguments, part) for part in ("train", "val", "test") if getattr(arguments, part)}
    drawn = draw_split(table_at(arguments.manifest), shares, arguments.by, arguments.seed)
    write_manifest(drawn, target)
    table = Table("", title=f"{target}, by {arguments.by}, seed {arguments.seed}", title_justify="left")
    for header in ("utterances", "share", "speakers", "hours"):
        table.add_column(header, justify="right")
    for part in shares:
        rows = part_of(drawn, part)
        share, hours = 100 * len(rows) / len(drawn), seconds_of(rows).sum() / 3600
        table.add_row(part, f"{len(rows):,}", f"{share:.2f} %", f"{len(speakers_of(rows)):,}", f"{hours:.2f}")
    missed = missed_shares(drawn, shares, arguments.by)
    show(table, *([missed] if missed else []))
