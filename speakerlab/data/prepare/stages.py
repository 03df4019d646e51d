"""`prepare`: download, extract, list, convert, examine, manifest; each stage looks first at what is done already.

The folder that it fills:

    manifest.parquet, manifest.arrow   the recordings that can be used
    rejected.csv                       the others, with reasons
    speakers.csv                       gender, nationality, utterances and hours
    trials/, meta/, iden_split.txt     the official lists
    downloads/, extracted/             as they came
    flac/, wav/ or opus/               what was converted
    .prepare/                          what is done, for the next run
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from speakerlab import InputError
from speakerlab.data.prepare.decoding import convert_all, examine_all, list_files, remove_converted, use_converted
from speakerlab.data.prepare.options import Options, checked
from speakerlab.data.prepare.rows import Prepared, judge_all, write_results
from speakerlab.data.prepare.sources import Sources
from speakerlab.data.prepare.unpacking import Bars, get_tree


def prepare(sources: Sources, options: Options, bars: Bars) -> Prepared:
    """Do what is left of all stages and write the results; `sources.checks` are the limits.

    Raises:
        InputError: for what the user can mend: files that can't be had or unpacked, a tree that is not the corpus's,
            more bad files than allowed (they are listed first), another `prepare` at work in the folder.
    """
    options = checked(options)
    corpus = import_module(f"speakerlab.data.corpora.{sources.corpus}")
    with _locked(options.state):
        _remove_drafts(options.to)
        missing = get_tree(sources, options, bars)
        corpus.read_speakers(options.to)  # a damaged table stops here, not after days of decoding
        with bars("listing", "files") as progress:
            listed = list_files(options.root, options, corpus.LAYOUT)
            progress(len(listed), len(listed))
        files = use_converted(listed, convert_all(listed, options, bars), options)
        facts = examine_all(files, options, bars)
        judged = judge_all(files, facts, corpus, sources.checks, options.to)
        prepared = write_results(judged, sources, corpus, options.to)
        if options.remove_extracted and options.tree is None:
            remove_converted(judged.used, options)
    return replace(prepared, missing_lists=missing)


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Keep a second run out of the folder; the system takes the lock away from a killed process."""
    state.mkdir(parents=True, exist_ok=True)
    with open(state / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{state.parent}: another prepare is at work in it; wait until it ends") from error
        except OSError:
            pass  # a file system that knows no locks
        yield


def _remove_drafts(to: Path) -> None:
    """Remove what a killed run was writing here; in the trees a draft has one name and is written over."""
    for folder in (to, to / "meta", to / "trials"):
        for draft in folder.glob(".*.tmp"):
            draft.unlink()
