"""What `data.split` and its kin ask of any corpus: a manifest becomes what is trained on, chosen by and tested on."""

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data.corpus import Corpus
from speakerlab.data.manifest import files_of, speakers_of
from speakerlab.data.splits import (
    check_shares,
    draw_split,
    first_speakers,
    is_closed_set,
    listed_split,
    missed_shares,
    part_of,
)
from speakerlab.data.trial_drawing import draw_trials
from speakerlab.data.trials import Trials
from speakerlab.data.utterance_names import rows_named

TASKS = ("verification", "identification")
CLOSED_SET = "'data.split={train: .6, val: .2, test: .2}' data.split_by=session"
NEEDS_CLOSED_SET = f"task=identification tells training speakers apart in other recordings of them: add {CLOSED_SET}"


@dataclass(frozen=True)
class Division:
    """How a corpus is divided.

    Args:
        task: "verification" wants a split by speaker, "identification" a closed-set one.
        n_speakers: only the first so many in name order; None takes all.
        split: shares of train, val and test; or a list like VoxCeleb's iden_split.txt; None is the corpus's own.
        by: what the shares are drawn by: utterance, session or speaker.
        trials: how many are drawn over the speakers of val, and over those of test.
        seed: of the draws.

    Raises:
        InputError: if task and split don't go together, or the shares are none.
    """

    task: str
    n_speakers: int | None
    split: dict[str, float] | str | None
    by: str
    trials: int
    seed: int

    def __post_init__(self):
        if self.task not in TASKS:
            raise InputError(f"data.task={self.task} must be {' or '.join(TASKS)}")
        if not isinstance(self.split, dict | str | None):
            raise InputError(f"data.split={self.split} must be shares such as {{train: .8, val: .2}}, or a list's path")
        if isinstance(self.split, dict):
            check_shares(self.split, self.by)
            if "val" not in self.split:
                raise InputError("data.split must name val: the best checkpoint is chosen by it")
        if self.split is not None:
            self._check_kind(isinstance(self.split, str) or self.by != "speaker")

    def corpus(self, table: pa.Table, folders: list[Path]) -> Corpus | None:
        """The divided corpus; None where neither `split` nor the manifest itself divides it.

        Args:
            table: manifest.
            folders: where a split list is looked for.

        Raises:
            InputError: if the split that the manifest has does not suit the task, or none suits identification.
        """
        notes: tuple[str, ...] = ()
        if isinstance(self.split, str):
            path = _find(self.split, folders)
            table, missing = listed_split(table, path)
            table = self.limited(table)
            notes = (f"{missing:,} lines of {path} name no utterance here",) if missing else ()
        elif self.split is not None:
            table = draw_split(self.limited(table), self.split, self.by, self.seed)
            missed = missed_shares(table, self.split, self.by)
            notes = (missed,) if missed else ()
        elif not {"train", "val"} <= set(pc.unique(table["split"]).to_pylist()):
            if self.task == "identification":
                raise InputError(NEEDS_CLOSED_SET)
            return None
        closed = is_closed_set(table)
        self._check_kind(closed)
        divided = self._closed(self.limited(table)) if closed else self._open(table)
        return replace(divided, notes=(*divided.notes, *notes))

    def limited(self, table: pa.Table) -> pa.Table:
        """The rows of the first speakers."""
        return table if self.n_speakers is None else first_speakers(table, self.n_speakers)

    def _check_kind(self, closed: bool) -> None:
        if closed and self.task == "verification":
            shares = "" if isinstance(self.split, dict) else "'data.split={train: .8, val: .2}' "
            raise InputError(
                "task=verification is judged on speakers that are not trained on, but this split has every speaker in "
                f"every part: add {shares}data.split_by=speaker, or task=identification"
            )
        if not closed and self.task == "identification":
            raise InputError(f"{NEEDS_CLOSED_SET}; a split by speaker leaves none to recognise")

    def _closed(self, table: pa.Table) -> Corpus:
        parts = {name: part_of(table, name) for name in ("train", "val", "test")}
        counts = ", ".join(f"{name} {len(part):,}" for name, part in parts.items())
        note = f"identification of {len(speakers_of(table)):,} speakers; utterances: {counts}"
        test = parts["test"] if len(parts["test"]) else None
        return Corpus(parts["train"], None, [], (note,), validation=parts["val"], test=test)

    def _open(self, table: pa.Table) -> Corpus:
        train = part_of(table, "train")
        if self.split is None:  # a drawn split is of the first speakers already
            train = self.limited(train)
        trials, files = self._draw(part_of(table, "val"))
        notes = (f"{len(trials):,} development trials over the speakers of val",)
        rest = part_of(table, "test")
        test_trials, test_files = self._draw(rest) if len(rest) else (None, [])
        return Corpus(train, trials, files, notes, test_trials, test_files)

    def _draw(self, table: pa.Table) -> tuple[Trials, list[Path]]:
        trials = draw_trials(table, self.trials, self.seed)
        return trials, files_of(table, rows_named(table, trials.utterances))


def _find(name: str, folders: list[Path]) -> Path:
    """A split list: a path, or a file in one of the folders."""
    places = [Path(name).expanduser(), *(folder / name for folder in folders)]
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"data.split={name}: there is no such file, nor one in {' or '.join(map(str, folders))}")
