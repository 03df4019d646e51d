"""`speakerlab trials`: lists in other forms, and new lists."""

import argparse
from pathlib import Path

from speakerlab.cli.manifests import HELP, table_at


def add_commands(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("trials", help="convert and make trial lists")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_convert(actions)
    _add_make(actions)


def _add_convert(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "convert",
        help="between VoxCeleb's form, Kaldi's and CSV; names may change too",
        description="Read a list of either form, or .csv with a header, and write another.",
        epilog="speakerlab trials convert veri_test2.txt trials.kaldi --to kaldi --suffix .flac --add-prefix wav/",
    )
    parser.add_argument("list", type=Path, help="`label enrol test`, `enrol test target|nontarget` or .csv")
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--to",
        choices=("voxceleb", "kaldi", "csv"),
        help="form of the output; by default csv for .csv, and voxceleb otherwise",
    )
    parser.add_argument("--strip-prefix", default="", metavar="TEXT", help="take this from the front of every name")
    parser.add_argument("--add-prefix", default="", metavar="TEXT", help="put this in front of what is left")
    parser.add_argument("--suffix", metavar=".EXT", help="in place of the audio suffix; '' takes it away")
    parser.set_defaults(run=convert)


def _add_make(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "make",
        help="draw a list among a manifest's utterances",
        description="Half targets, half non-targets; every pair that meets the constraints is equally likely.",
        epilog="speakerlab trials make /data/voxceleb1 --split test --count 40000 --same gender,nationality "
        "--different session -o hard.txt",
    )
    parser.add_argument("manifest", type=Path, help=HELP)
    parser.add_argument("--count", type=int, required=True, metavar="N", help="trials")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--same", default="", metavar="COLUMNS", help="in which both utterances agree: gender,nationality"
    )
    parser.add_argument("--different", default="", metavar="COLUMNS", help="in which they differ: session")
    parser.add_argument("--split", metavar="NAME", help="only the manifest's rows of this split")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="LIST", help=".csv writes CSV")
    parser.set_defaults(run=make)


def convert(arguments: argparse.Namespace) -> None:
    """Read, rename, write, count."""
    from speakerlab import InputError
    from speakerlab.cli.tables import show
    from speakerlab.data.trials import read_trials, rename_utterances, write_trials

    if arguments.suffix and not arguments.suffix.startswith("."):
        raise InputError(f"--suffix {arguments.suffix} must begin with a dot: --suffix .{arguments.suffix}")
    trials = read_trials(arguments.list)
    trials = rename_utterances(trials, arguments.strip_prefix, arguments.add_prefix, arguments.suffix)
    write_trials(trials, arguments.output, arguments.to or _form_of(arguments.output))
    show(f"{arguments.output}: {_counts(trials)}")


def make(arguments: argparse.Namespace) -> None:
    """Draw, write, count."""
    from speakerlab.cli.tables import show
    from speakerlab.data.manifest import speakers_of
    from speakerlab.data.splits import rows_of_splits
    from speakerlab.data.trial_drawing import make_trials, with_known
    from speakerlab.data.trials import write_trials
    from speakerlab.data.utterance_names import rows_named

    table = table_at(arguments.manifest)
    if arguments.split is not None:
        table = rows_of_splits(table, [arguments.split], str(arguments.manifest))
    same, different = (_columns(text) for text in (arguments.same, arguments.different))
    trials = make_trials(table, arguments.count, arguments.seed, same, different)
    write_trials(trials, arguments.output, _form_of(arguments.output))
    used = table.take(rows_named(table, trials.utterances))
    show(f"{arguments.output}: {_counts(trials)}, {len(speakers_of(used)):,} speakers")
    unknown = len(table) - len(with_known(table, [*same, *different]))
    if unknown:
        show(
            f"left out: {unknown:,} of {len(table):,} utterances, of which {', '.join([*same, *different])} is unknown"
        )
    if len(trials) < arguments.count:
        show(f"{arguments.count - len(trials):,} fewer than asked: no more pairs meet the constraints")


def _columns(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _form_of(path: Path) -> str:
    return "csv" if path.suffix.lower() == ".csv" else "voxceleb"


def _counts(trials) -> str:
    targets = int(trials.labels.sum())
    return f"{targets:,} targets, {len(trials) - targets:,} non-targets, {len(trials.utterances):,} utterances"
