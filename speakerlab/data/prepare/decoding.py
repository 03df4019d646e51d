"""The stages that decode: what of the tree is converted, what is examined, and what is known from the last run."""

import os
from pathlib import Path
from typing import NamedTuple

from speakerlab import InputError
from speakerlab.data.audio import AUDIO_SUFFIXES
from speakerlab.data.journal import Journal
from speakerlab.data.pool import Crash, work
from speakerlab.data.prepare.convert import FORMATS
from speakerlab.data.prepare.examine import UNREADABLE, Facts
from speakerlab.data.prepare.options import Options
from speakerlab.data.prepare.rows import DUPLICATE, File
from speakerlab.data.prepare.unpacking import Bars
from speakerlab.data.tree import list_audio


class Listed(NamedTuple):
    """A file of the tree, as `data.tree` lists it."""

    path: str
    size: int
    mtime_ns: int


def list_files(root: Path, options: Options, layout: str) -> list[Listed]:
    """The audio of the tree.

    Raises:
        InputError: if there is none, and none was converted before.
    """
    rows = zip(*(column.to_pylist() for column in list_audio(root).columns), strict=True) if root.is_dir() else ()
    listed = [Listed(*row) for row in rows]
    if not listed and not conversions(options):
        kinds = ", ".join(AUDIO_SUFFIXES)
        raise InputError(f"{root}: holds no audio ({kinds}); expected {layout}")
    return listed


def conversions(options: Options) -> dict[str, Journal]:
    """What each format's conversions left behind; the format asked for now comes last, since it counts most."""
    names = [name for name in FORMATS if (options.state / f"{name}.jsonl").is_file() and name != options.audio_format]
    wanted = [options.audio_format] if options.audio_format else []
    return {name: Journal(options.state / f"{name}.jsonl") for name in names + wanted}


def to_convert(listed: list[Listed], journal: Journal, options: Options) -> list[Listed]:
    """The files without a target that was made of them as they are now."""
    left = []
    for file in listed:
        values = journal.get(file.path)
        if (
            values is None
            or values[:2] != [file.size, file.mtime_ns]
            or (values[2] > 0 and _size(_target(options, file.path, options.audio_format)) != values[2])
        ):
            left.append(file)
    return left


def duplicates(listed: list[Listed]) -> dict[str, Facts]:
    """Files that differ from an earlier one in the suffix alone: their conversions would be one file."""
    first: dict[str, str] = {}
    found = {}
    for file in listed:
        kept = first.setdefault(os.path.splitext(file.path)[0], file.path)
        if kept != file.path:
            found[file.path] = Facts(problem=DUPLICATE, detail=f"the same recording as {kept}")
    return found


def convert_all(listed: list[Listed], options: Options, bars: Bars) -> dict[str, Facts]:
    """Convert what is left to the wanted format.

    Returns:
        what keeps files from being converted now; that is not remembered where it may pass by itself.
    """
    if options.audio_format is None:
        return {}
    journal = conversions(options)[options.audio_format]
    passing = duplicates(listed)
    listed = [file for file in listed if file.path not in passing]
    left = {str(options.root / file.path): file for file in to_convert(listed, journal, options)}
    tasks = (
        ["convert", source, str(_target(options, file.path, options.audio_format)), options.audio_format]
        for source, file in left.items()
    )
    with bars(f"convert to {options.audio_format}", "files") as progress:
        for count, (task, answer) in enumerate(work(tasks, min(options.workers, len(left))), start=1):
            file, facts = left[task[1]], _facts(answer)
            if _may_pass(facts, answer):
                passing[file.path] = facts
            else:
                size = _size(Path(task[2])) if facts.samples else 0
                journal.add(file.path, file.size, file.mtime_ns, size, *facts)
            progress(count, len(left))
    return passing


def use_converted(listed: list[Listed], passing: dict[str, Facts], options: Options) -> list[File]:
    """Which file stands for each of the tree: its conversion where there is one, also when the original is gone."""
    files = {file.path: File(file.path, options.root, file.path, None) for file in listed}
    there = frozenset(files)
    for name, journal in conversions(options).items():
        for path, (_, _, size, *values) in journal.known.items():
            facts, target = Facts(*values), _target(options, path, name)
            if path in there and name != options.audio_format:
                continue  # only the original's absence makes another format's conversion count
            if size > 0 and (path in there or _size(target) == size):
                folder = options.to / name
                files[path] = File(path, folder, target.relative_to(folder).as_posix(), facts)
            elif path in there and facts.problem:
                files[path] = File(path, options.root, path, facts)
    for path, facts in passing.items():
        files[path] = File(path, options.root, path, facts)
    return [files[path] for path in sorted(files)]


def examine_all(files: list[File], options: Options, bars: Bars) -> list[Facts]:
    """What a full decode of each file finds, from the last run where size and time are the same."""
    journal = Journal(options.state / "examined.jsonl")
    facts, left = known_facts(files, journal)
    tasks = (["examine", str(files[place].file)] for place in left)
    places = {str(files[place].file): place for place in left}
    with bars("decode and check", "files") as progress:
        for count, (task, answer) in enumerate(work(tasks, min(options.workers, len(left))), start=1):
            place = places[task[1]]
            facts[place] = _facts(answer)
            if not _may_pass(facts[place], answer):
                journal.add(task[1], *left[place], *facts[place])
            progress(count, len(left))
    return facts


def known_facts(files: list[File], journal: Journal) -> tuple[list[Facts], dict[int, list[int]]]:
    """What is known of each file, and (size, time) of those to examine by their place in the list."""
    facts, left = [], {}
    for place, file in enumerate(files):
        if file.source is not None and file.source.problem:
            facts.append(file.source)
            continue
        stamp, values = _stamp(file.file), journal.get(str(file.file))
        if values is not None and values[:2] == stamp:
            facts.append(Facts(*values[2:]))
        else:
            facts.append(Facts())
            left[place] = stamp
    return facts, left


def remove_converted(used: list[File], options: Options) -> None:
    """Remove the originals of recordings whose conversion is in the manifest; rejected ones stay to be looked at."""
    for file in used:
        if file.root != options.root:
            (options.root / file.path).unlink(missing_ok=True)
    for folder, _, _ in os.walk(options.root, topdown=False):
        if not os.listdir(folder):
            os.rmdir(folder)


def _target(options: Options, path: str, audio_format: str) -> Path:
    return options.to / audio_format / f"{os.path.splitext(path)[0]}.{audio_format}"


def _facts(answer: list | Crash) -> Facts:
    return Facts(problem="crashes the decoder", detail=answer.how) if isinstance(answer, Crash) else Facts(*answer)


def _may_pass(facts: Facts, answer: list | Crash) -> bool:
    """Whether another run may find otherwise though the file stays as it is."""
    return facts.problem == UNREADABLE or isinstance(answer, Crash)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:
        return [-1, 0]
    return [stat.st_size, stat.st_mtime_ns]
