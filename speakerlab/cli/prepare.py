"""`speakerlab prepare CORPUS`: from a tree on disk, or the download hosts, to a checked manifest."""

import argparse
import getpass
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from speakerlab import InputError

if TYPE_CHECKING:
    from speakerlab.data.download import Login

CONNECTIONS = 4
# What --from makes pointless: nothing is downloaded but, with --fetch-lists, the lists.
OF_DOWNLOADS = ("only", "url_base", "remove_parts", "remove_extracted")
OF_LISTS = ("user", "connections")
EPILOG = """\
Give --from with the folder of a corpus that you have, which is only read; without it the corpus is downloaded. Whatever
stops the command, the same command goes on where it stopped. Archives that you put into DIR/downloads are used.

  speakerlab prepare voxceleb1 --from /data/voxceleb1 --to data/voxceleb1
  speakerlab prepare voxceleb2 --from /data/voxceleb2 --to data/voxceleb2 --format flac
  speakerlab prepare voxceleb1 --to data/voxceleb1 --url-base https://HOST/PATH --user NAME
  speakerlab prepare librispeech --to data/librispeech --only train-clean-100 dev-clean --dry-run
"""


def add_commands(commands) -> None:
    """`speakerlab prepare`."""
    parser = commands.add_parser(
        "prepare",
        help="download or take over a corpus, check every file, write its manifest",
        description="Prepare a corpus: download, unpack, convert, decode every file from end to end, write a manifest.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("corpus", metavar="CORPUS", help=", ".join(_corpora()))
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder to fill")
    parser.add_argument("--from", dest="tree", type=Path, metavar="DIR", help="tree on disk; nothing is written there")
    parser.add_argument(
        "--format", choices=("flac", "wav", "opus"), help="convert what is no 16 kHz mono file of it; default: nothing"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes that decode; default: one a processor")
    parser.add_argument("--max-bad-share", type=float, metavar="X", help="share of bad files that is accepted (0.01)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and touch nothing")
    source = parser.add_argument_group("download")
    source.add_argument("--only", nargs="+", metavar="NAME", help="these archives alone, such as train-clean-100")
    source.add_argument(
        "--url-base", metavar="URL", help="where the archives lie; {file} in it stands for a file's name"
    )
    source.add_argument(
        "--user", metavar="NAME", help="for the host; the password is $SPEAKERLAB_PASSWORD, or asked (or use ~/.netrc)"
    )
    source.add_argument("--connections", type=int, metavar="N", help=f"files at a time ({CONNECTIONS})")
    source.add_argument("--fetch-lists", action="store_true", help="with --from: download the lists that are not there")
    source.add_argument(
        "--sources", type=Path, metavar="FILE", help="a file like conf/prepare/CORPUS.yaml in its place"
    )
    source.add_argument("--remove-parts", action="store_true", help="remove archives once they are unpacked")
    source.add_argument(
        "--remove-extracted", action="store_true", help="remove unpacked files once their conversion is found good"
    )
    parser.set_defaults(run=run, goes_on=True)


def run(arguments: argparse.Namespace) -> None:
    """Plan or prepare, and say how it ended."""
    from importlib import import_module

    from speakerlab.cli.progress import progress_bar
    from speakerlab.data.left_out import check_share
    from speakerlab.data.prepare.plan import plan
    from speakerlab.data.prepare.report import summary
    from speakerlab.data.prepare.sources import read_sources
    from speakerlab.data.prepare.stages import prepare

    _refuse_pointless(arguments)
    arguments.goes_on = not arguments.dry_run
    sources = read_sources(arguments.sources or _conf(arguments.corpus), arguments.url_base)
    if sources.corpus != arguments.corpus:
        raise InputError(f"{arguments.sources}: is for {sources.corpus}, not {arguments.corpus}")
    if arguments.only:
        sources = sources.only(arguments.only)
    if arguments.max_bad_share is not None:
        check_share("--max-bad-share", arguments.max_bad_share)
        sources = replace(sources, checks=replace(sources.checks, max_bad_share=arguments.max_bad_share))
    addresses = [url for archive in sources.archives for part in archive.parts for url in part.urls]
    options = _options(arguments, addresses)
    if arguments.dry_run:
        print(plan(sources, options, import_module(f"speakerlab.data.corpora.{sources.corpus}").LAYOUT))
        return
    print(summary(prepare(sources, options, progress_bar)))


def _refuse_pointless(arguments: argparse.Namespace) -> None:
    """InputError for an option that would do nothing."""
    if arguments.tree is None:
        return
    names = OF_DOWNLOADS if arguments.fetch_lists else (*OF_DOWNLOADS, *OF_LISTS)
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name)]
    if given:
        raise InputError(f"{', '.join(given)}: for downloads, but --from only reads a tree; leave out one or the other")


def _options(arguments: argparse.Namespace, addresses: list[str]):
    from speakerlab.data import check_workers, usable_cpus
    from speakerlab.data.prepare.options import Options

    workers = usable_cpus() if arguments.workers is None else arguments.workers
    check_workers(workers)
    if arguments.connections is not None and arguments.connections < 1:
        raise InputError(f"--connections {arguments.connections}: must be at least 1")
    if arguments.remove_extracted and arguments.format is None:
        raise InputError("--remove-extracted needs --format: without it the unpacked files are what is trained on")
    return Options(
        to=arguments.to,
        tree=arguments.tree,
        audio_format=arguments.format,
        workers=workers,
        connections=arguments.connections or CONNECTIONS,
        login=None if arguments.dry_run else _login(arguments.user, addresses),
        fetch_lists=arguments.fetch_lists,
        remove_parts=arguments.remove_parts,
        remove_extracted=arguments.remove_extracted,
    )


def _login(user: str | None, addresses: list[str]) -> "Login | None":
    """Never an option for the password: every user of the machine reads others' command lines."""
    if user is None:
        return None
    if not addresses:
        raise InputError("--user needs --url-base, the host that the password is for")
    password = os.environ.get("SPEAKERLAB_PASSWORD")
    if password is None and not sys.stdin.isatty():
        raise InputError("--user needs a password: set SPEAKERLAB_PASSWORD, or use ~/.netrc without --user")
    from speakerlab.data.download import Login

    return Login(user, password if password is not None else getpass.getpass(f"password of {user}: "), addresses[0])


def _folder() -> Path:
    from speakerlab.shipped import CONF

    return CONF / "prepare"


def _corpora() -> list[str]:
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def _conf(corpus: str) -> Path:
    from speakerlab.shipped import nearest

    path = _folder() / f"{corpus}.yaml"
    if not path.is_file():
        raise InputError(f"{corpus}: no such corpus{nearest(corpus, _corpora())} (there are: {', '.join(_corpora())})")
    return path
