"""What a corpus hands to training: utterances to learn from, and trials to be judged by."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.embedding_files.branches import Branches
from speakerlab.data.manifest import MANIFEST, files_of, read_manifest, speakers_of
from speakerlab.data.shards.index import Shards
from speakerlab.data.trial_drawing import draw_trials
from speakerlab.data.trials import Trials
from speakerlab.data.utterance_names import rows_named

BATCH_ROWS = 1 << 18  # of a table that is gone through in pieces
MOST_RUNS = 4096  # views of a table; more cost more to look up than a copy


@dataclass(frozen=True)
class Corpus:
    """One corpus, ready to use: for verification with trials, for identification with utterances of known speakers.

    Attributes:
        train: manifest rows to train on, or shards.
        trials: the development trials; None for identification.
        development: audio file of each utterance in `trials.utterances`, in that order.
        notes: one line for the log from each step that has something to say.
        test_trials, test_files: trials over further speakers, for the trained model; None and empty where there are
            none.
        validation: other utterances of the training speakers, classified while training; None for verification.
        test: further such utterances, for the trained model; None where there are none.
        saved: embeddings of all these utterances, in place of their audio; None where there is audio.
        fraction: of `train` that is to be trained on; see `speakerlab.data.fraction`. Left to whoever reads the audio,
            so that a cache of all of it serves every fraction.
    """

    train: pa.Table | Shards
    trials: Trials | None
    development: list[Path]
    notes: tuple[str, ...] = ()
    test_trials: Trials | None = None
    test_files: list[Path] = field(default_factory=list)
    validation: pa.Table | None = None
    test: pa.Table | None = None
    saved: Branches | None = None
    fraction: float = 1.0

    @property
    def speakers(self) -> list[str]:
        """Names of the training speakers in class order."""
        return self.train.speakers if isinstance(self.train, Shards) else speakers_of(self.train)

    @property
    def utterances(self) -> int:
        """How many there are to train on."""
        return len(self.train)


class CorpusLoader(Protocol):
    """Anything that `conf/data/*.yaml` may name: it finds or makes its files and returns a `Corpus`."""

    def load(self, progress: Progress | None = None) -> Corpus: ...


def check_disjoint(train: pa.Table, development: list[Path]) -> None:
    """Refuse development audio that lies in a training speaker's folder: such an EER would flatter the model.

    Raises:
        InputError: naming the first file and how many there are.
    """
    check_apart(speaker_folders(train), development)


def check_apart(folders: set[str], development: list[Path], allow_overlap: bool = False) -> tuple[str, ...]:
    """`check_disjoint` with the training speakers' folders as `speaker_folders` gives them; what `allow_overlap` lets
    pass is told in a line for the log."""
    known: dict[str, bool] = {}  # links are followed once a folder, not once a file

    def is_trained_on(path: Path) -> bool:
        folder = os.path.dirname(os.path.realpath(path) if path.is_symlink() else path)
        if folder not in known:
            real = Path(os.path.realpath(folder))
            known[folder] = not folders.isdisjoint(map(str, (real, *real.parents)))
        return known[folder]

    shared = [path for path in development if is_trained_on(path)]
    if not shared:
        return ()
    problem = f"{len(shared)} of {len(development)} development utterances belong to training speakers, "
    problem += f"for example {shared[0]}"
    if not allow_overlap:
        raise InputError(f"{problem}; use trials over speakers that are not trained on")
    return (f"{problem}: the EER flatters the model",)


def speaker_folders(table: pa.Table) -> set[str]:
    """The speaker's folder of each row, links followed: seconds for ten million rows.

    It is the folder with the speaker's name (`wav/id10001`), or the first below the root where none is called so.
    """
    below: dict[str, set[str]] = {}
    for batch in table.select(["root", "path", "speaker"]).to_batches(max_chunksize=BATCH_ROWS):
        names = _below_root(batch["path"], batch["speaker"])
        roots = batch["root"].unique().to_pylist()
        for root in roots:
            own = names if len(roots) == 1 else names.filter(pc.equal(batch["root"].cast(pa.string()), root))
            below.setdefault(root, set()).update(own.unique().to_pylist())
    return {folder for root, names in below.items() for folder in _resolved(root, names)}


def _below_root(path: pa.Array, speaker: pa.Array) -> pa.Array:
    """The speaker's folder of each row relative to its root."""
    first = pc.list_element(pc.split_pattern(path, "/", max_splits=1), 0)
    name = pc.replace_substring_regex(speaker, "^.*/", "")  # joined corpora put their own names in front
    if pc.all(pc.equal(first, name)).as_py():
        return first
    # Deeper: each folder is looked at once, however many files are in it.
    pairs = pc.binary_join_element_wise(pc.replace_substring_regex(path, "[^/]*$", ""), name, "\n").dictionary_encode()
    found = []
    for folder, wanted in (pair.split("\n") for pair in pairs.dictionary.to_pylist()):
        before, there, _ = f"/{folder}".partition(f"/{wanted}/")
        found.append(f"{before}/{wanted}".lstrip("/") if there else None)
    return pc.coalesce(pa.array(found, pa.string()).take(pairs.indices), first)


def _resolved(root: str, names: set[str]) -> list[str]:
    """`root/name` of each, links followed. The root is listed once, which tells the links among a million speakers."""
    real = os.path.realpath(root)
    try:
        with os.scandir(real) as entries:
            links = {entry.name for entry in entries if entry.is_symlink()}
    except OSError:
        links = set()
    paths = {name: os.path.join(real, name) for name in names}
    return [os.path.realpath(path) if "/" in name or name in links else path for name, path in paths.items()]


def hold_out_speakers(
    table: pa.Table, count: int, seed: int, setting: str = "data.heldout_speakers="
) -> tuple[pa.Table, pa.Table]:
    """Split off `count` speakers, drawn by `seed`: `(rows of the others, rows of the held-out)`.

    `setting` is what the user calls the count, for messages.

    Raises:
        InputError: if fewer than two speakers would stay on either side.
    """
    speakers = speakers_of(table)
    if not 2 <= count <= len(speakers) - 2:
        most = len(speakers) - 2
        advice = f"give 2 to {most}" if most >= 2 else "these are too few to hold any out"
        raise InputError(f"{setting}{count} must leave at least 2 of {len(speakers)} speakers on either side: {advice}")
    held_out = pa.array(np.random.default_rng(seed).permutation(speakers)[:count].tolist())
    is_held_out = pc.is_in(table["speaker"], value_set=held_out).to_numpy()  # (rows,)
    return select_rows(table, ~is_held_out), select_rows(table, is_held_out)


def select_rows(table: pa.Table, wanted: np.ndarray) -> pa.Table:
    """The rows where `wanted` `(rows,)` is true, as views where they are few runs: a copy of ten million rows of a
    memory-mapped manifest takes more than a gigabyte."""
    edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False)).reshape(-1, 2)  # first and behind last
    if not 0 < len(edges) <= MOST_RUNS:
        return table.filter(pa.array(wanted))
    return pa.concat_tables([table.slice(first, end - first) for first, end in edges.tolist()])


def with_held_out_trials(table: pa.Table, speakers: int, trials: int, seed: int) -> Corpus:
    """Train on all but some speakers, and be judged by trials drawn over those.

    Args:
        table: manifest.
        speakers: how many are held out.
        trials: how many are drawn.
        seed: of both.
    """
    train, held_out = hold_out_speakers(table, speakers, seed)
    drawn = draw_trials(held_out, trials, seed)
    return Corpus(train, drawn, files_of(held_out, rows_named(held_out, drawn.utterances)))


def check_strangers(
    trials: Trials, roots: list[Path], speakers: list[str], allow_overlap: bool, key: str = "data.allow_overlap"
) -> tuple[str, ...]:
    """Refuse a list with speakers who are trained on, such as Vox1-E and Vox1-H after training on VoxCeleb1's dev.

    They are known by the manifests of the list's audio, and by VoxCeleb1's names.

    Args:
        trials: the list.
        roots: folders of its audio, prepared or not.
        speakers: who is trained on; of joined corpora with the corpus's name in front.
        allow_overlap: let it pass.
        key: of the setting that lets it pass, for the message.

    Returns:
        a line for the log about what was let pass.

    Raises:
        InputError: unless `allow_overlap`, with how many speakers there are.
    """
    shared = voxceleb1_speakers(trials.utterances) & {name.rpartition("/")[2] for name in speakers}
    for root in roots:
        if (root / MANIFEST).is_file():
            table = read_manifest(root / MANIFEST)
            rows = rows_named(table, trials.utterances)
            shared |= set(pc.unique(table["speaker"].take(pa.array(rows[rows >= 0]))).to_pylist()) & set(speakers)
    if not shared:
        return ()
    problem = f"{trials.source}: {len(shared):,} of its speakers are trained on, such as {min(shared)}"
    if not allow_overlap:
        raise InputError(
            f"{problem}; use a list over other speakers (Vox1-E and Vox1-H are over VoxCeleb1's dev, for models "
            f"trained on VoxCeleb2), or force it with {key}=true"
        )
    return (f"{problem}: the EER flatters the model",)


def voxceleb1_speakers(names: list[str]) -> set[str]:
    """VoxCeleb1's speakers whose folder is in the name of an utterance.

    >>> sorted(voxceleb1_speakers(["wav/id10270/x/1.wav", "id10271/y/2.wav", "id00012/z/3.wav"]))
    ['id10270', 'id10271']
    """
    found = pc.extract_regex(pa.array(names, pa.string()), "(?:^|/)(?P<speaker>id1[0-9]{4})/")
    return set(pc.unique(found.drop_null().field("speaker")).to_pylist())  # a null's own field may be empty text
