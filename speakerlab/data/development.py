"""The development trials of a run, kept in its folder so that a checkpoint can be evaluated on them later."""

from pathlib import Path

from speakerlab import InputError
from speakerlab.data.trials import Trials, read_trials, write_trials


def write_development_trials(run: Path, trials: Trials, files: list[Path]) -> None:
    """Write `trials/development.txt`, and beside it the audio file of each utterance in order of appearance."""
    folder = run / "trials"
    folder.mkdir(parents=True, exist_ok=True)
    write_trials(trials, folder / "development.txt")
    lines = "".join(f"{file.resolve()}\n" for file in files)
    (folder / "development_files.txt").write_text(lines, encoding="utf-8")


def read_development_trials(run: Path) -> tuple[Trials, list[Path]]:
    """The trials and the file of each utterance, as they were written.

    Raises:
        InputError: if the folder has none.
    """
    folder = run / "trials"
    if not (folder / "development.txt").is_file():
        raise InputError(f"{run} holds no development trials; give trials=LIST and trials_root=FOLDER")
    files = (folder / "development_files.txt").read_text(encoding="utf-8").splitlines()
    return read_trials(folder / "development.txt"), [Path(file) for file in files]
