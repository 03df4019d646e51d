"""What a run is judged by, kept in its folder so that a checkpoint can be evaluated on it later."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa

from speakerlab import InputError
from speakerlab.data.corpus import Corpus
from speakerlab.data.manifest import read_manifest, replacing, write_manifest
from speakerlab.data.trials import Trials, read_trials, write_trials

MEASURED = Path("scores", "last_epoch.npz")  # in a run's folder: what was found when it was last judged


def run_folder(checkpoint: Path) -> Path | None:
    """The run that a checkpoint lies in, if it lies in one."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else None


def write_development(run: Path, corpus: Corpus) -> None:
    """Write the corpus's trials (`trials/development.txt`, `trials/test.txt`), or the utterances to identify
    (`utterances/val.parquet`, `utterances/test.parquet`)."""
    if corpus.trials is not None:
        write_development_trials(run, corpus.trials, corpus.development)
    if corpus.test_trials is not None:
        write_development_trials(run, corpus.test_trials, corpus.test_files, "test")
    for part, table in (("val", corpus.validation), ("test", corpus.test)):
        if table is not None:
            write_manifest(table, run / "utterances" / f"{part}.parquet")


def read_utterances(run: Path, part: str) -> pa.Table:
    """The manifest rows of "val" or "test" that a run's model is to identify.

    Raises:
        InputError: if the folder has none.
    """
    path = run / "utterances" / f"{part}.parquet"
    if not path.is_file():
        raise InputError(f"{run} holds no utterances of {part}; give manifest=MANIFEST, whose rows of {part} are taken")
    return read_manifest(path)


def write_development_trials(run: Path, trials: Trials, files: list[Path], name: str = "development") -> None:
    """Write `trials/<name>.txt`, and beside it the audio file of each utterance in order of appearance; none of
    embeddings whose audio nobody knows."""
    folder = run / "trials"
    folder.mkdir(parents=True, exist_ok=True)
    # The columns of a list are told apart by spaces, which a name may hold; the files are named beside it.
    names = [quote(one, safe="/") if one.split() != [one] else one for one in trials.utterances]
    write_trials(replace(trials, utterances=names), folder / f"{name}.txt")
    lines = "".join(f"{file.resolve()}\n" for file in files)
    with replacing(folder / f"{name}_files.txt") as draft:
        draft.write_text(lines, encoding="utf-8")


def read_development_trials(run: Path, name: str = "development") -> tuple[Trials, list[Path]]:
    """The trials and the file of each utterance, as they were written; no files where there were none.

    Raises:
        InputError: if the folder has none.
    """
    folder = run / "trials"
    if not all((folder / file).is_file() for file in (f"{name}.txt", f"{name}_files.txt")):
        raise InputError(f"{run} holds no {name} trials; give trials=LIST and trials_root=FOLDER")
    files = (folder / f"{name}_files.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return read_trials(folder / f"{name}.txt"), [Path(file) for file in files]
