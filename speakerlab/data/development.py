"""The development trials of a run, kept in its folder so that a checkpoint can be evaluated on them later."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from speakerlab import InputError
from speakerlab.data.manifest import replacing
from speakerlab.data.trials import Trials, read_trials, write_trials


def write_development_trials(run: Path, trials: Trials, files: list[Path]) -> None:
    """Write `trials/development.txt`, and beside it the audio file of each utterance in order of appearance."""
    folder = run / "trials"
    folder.mkdir(parents=True, exist_ok=True)
    # The columns of a list are told apart by spaces, which a name may hold; the files are named beside it.
    names = [quote(name, safe="/") if len(name.split()) > 1 else name for name in trials.utterances]
    write_trials(replace(trials, utterances=names), folder / "development.txt")
    lines = "".join(f"{file.resolve()}\n" for file in files)
    with replacing(folder / "development_files.txt") as draft:
        draft.write_text(lines, encoding="utf-8")


def read_development_trials(run: Path) -> tuple[Trials, list[Path]]:
    """The trials and the file of each utterance, as they were written.

    Raises:
        InputError: if the folder has none.
    """
    folder = run / "trials"
    if not all((folder / name).is_file() for name in ("development.txt", "development_files.txt")):
        raise InputError(f"{run} holds no development trials; give trials=LIST and trials_root=FOLDER")
    files = (folder / "development_files.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return read_trials(folder / "development.txt"), [Path(file) for file in files]
