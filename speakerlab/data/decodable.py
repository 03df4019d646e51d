"""Which of a corpus's files can be decoded from end to end; what was found is remembered."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from speakerlab.data import Progress, usable_cpus
from speakerlab.data.journal import Journal
from speakerlab.data.left_out import BadFile
from speakerlab.data.prepare.examine import examine


def undecodable(files: Sequence[Path], memory: Path, progress: Progress | None = None) -> list[BadFile]:
    """The files that can't be decoded, in their order; `path` is the file's whole path.

    Args:
        files: audio.
        memory: a journal of what was found before, by size and time of change; it is made.
        progress: called with (files decoded, files to decode).
    """
    journal = Journal(memory)

    def stamp(file: Path) -> list[int]:
        try:
            stat = file.stat()
        except OSError:  # it vanished; `examine` says so
            return [-1, -1]
        return [stat.st_size, stat.st_mtime_ns]

    def look(file: Path) -> None:
        facts = examine(file)
        journal.add(str(file), *stamp(file), facts.problem, facts.detail)

    new = [file for file in dict.fromkeys(files) if (journal.get(str(file)) or [])[:2] != stamp(file)]
    with ThreadPoolExecutor(usable_cpus()) as pool:
        for done, _ in enumerate(pool.map(look, new), start=1):
            if progress is not None:
                progress(done, len(new))
    found = ((file, *journal.known[str(file)][2:]) for file in dict.fromkeys(files))
    return [BadFile(str(file), problem, detail) for file, problem, detail in found if problem]
