"""What `prepare` would do, in words; touches nothing and asks no host."""

import os
from collections import Counter
from pathlib import Path

from speakerlab.data.amounts import size
from speakerlab.data.download import RemoteFile, partial_of
from speakerlab.data.journal import Journal
from speakerlab.data.prepare.decoding import Listed, conversions, known_facts, list_files, to_convert, use_converted
from speakerlab.data.prepare.lists import missing_lists
from speakerlab.data.prepare.options import Options, checked
from speakerlab.data.prepare.sources import Sources
from speakerlab.data.prepare.unpacking import to_unpack


def plan(sources: Sources, options: Options, layout: str) -> str:
    """One line a thing to do, with sizes where they are known."""
    options = checked(options)
    lines = [f"{sources.corpus} into {options.to}; nothing is done now"]
    lines += _lists(sources, options)
    if options.tree is None:
        lines += _downloads(sources, options)
    if options.tree is not None or options.root.is_dir() or conversions(options):
        lines += _files(list_files(options.root, options, layout), options)
    lines.append(f"write     manifest.parquet, rejected.csv and speakers.csv to {options.to}")
    return "\n".join(lines)


def _lists(sources: Sources, options: Options) -> list[str]:
    missing = missing_lists(sources.lists, options.root, options.to)
    fetched = [entry for entry in missing if entry.file.urls] if options.tree is None or options.fetch_lists else []
    copied = len([entry for entry in sources.lists if not (options.to / entry.to).is_file()]) - len(missing)
    lines = [f"copy      {copied} lists from {options.root}"] if copied else []
    lines += [f"download  {entry.file.name}" for entry in fetched]
    left = [entry.file.name for entry in missing if entry not in fetched and options.tree is not None]
    return lines + ([f"without   {', '.join(left)} (--fetch-lists downloads what has an address)"] if left else [])


def _downloads(sources: Sources, options: Options) -> list[str]:
    left, folder = to_unpack(sources, options), options.to / "downloads"
    lines, sizes = [], []
    for archive in left:
        for part in archive.parts:
            if not (folder / part.name).is_file():
                sizes.append(part.bytes)
                lines.append(f"download  {part.name}, {_size(part.bytes)}{_there(folder, part)}")
        lines.append(f"unpack    {archive.name} into {options.root / archive.into}")
    if sizes:
        known = sum(count for count in sizes if count is not None)
        rest = f" and {sizes.count(None)} files of unknown size" if None in sizes else ""
        lines.append(f"in all    {size(known)} to download{rest}")
    if not left:
        lines.append(f"unpacked  all {len(sources.archives)} archives, before")
    elif options.remove_parts:
        lines.append("remove    the archives once they are unpacked")
    return lines


def _size(count: int | None) -> str:
    return "size unknown" if count is None else size(count)


def _there(folder: Path, part: RemoteFile) -> str:
    partial, _ = partial_of(folder, part)
    return f", of which {size(partial.stat().st_size)} are here" if partial.is_file() else ""


def _files(listed: list[Listed], options: Options) -> list[str]:
    kinds = Counter(os.path.splitext(file.path)[1].lower() for file in listed)
    counted = ", ".join(f"{count:,} {suffix}" for suffix, count in kinds.most_common())
    lines = [f"found     {counted or 'no files'} in {options.root}, {size(sum(max(file.size, 0) for file in listed))}"]
    if options.audio_format is not None:
        left = to_convert(listed, conversions(options)[options.audio_format], options)
        lines.append(
            f"convert   {len(left):,} files, those that are no 16 kHz mono, to {options.to / options.audio_format}"
        )
    files = use_converted(listed, {}, options)
    _, left = known_facts(files, Journal(options.state / "examined.jsonl"))
    lines.append(f"decode    {len(left):,} of {len(files):,} files from end to end, to check them")
    return lines
