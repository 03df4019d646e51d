"""Shards on a disk or a web server as a corpus."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.corpus import Corpus, check_apart
from speakerlab.data.shards.foreign import scan_shards
from speakerlab.data.shards.heldout import HELDOUT, TRIALS
from speakerlab.data.shards.index import INDEX, ShardIndex, Shards, check_present, read_index
from speakerlab.data.shards.transport import is_url, joined, size_of
from speakerlab.data.trials import Trials, check_both_kinds, locate_utterances, read_trials


@dataclass
class ShardCorpus:
    """Shards that `speakerlab shard` packed, or WeSpeaker's.

    Args:
        root: folder or URL of the shards and their index; of tar files without an index (WeSpeaker's), their folder
            or the text file that lists them.
        trials: development trial list; None takes the one over the speakers that were held out in packing.
        trials_root: folder, or list of folders, that the list's paths start from; None is the list's own folder.
        shuffle_buffer: utterances that each data worker holds to draw the next one from.
        cache_dir: keeps what was found in shards without an index.

    Raises:
        ValueError: if `shuffle_buffer` is not positive.
    """

    root: str
    trials: str | None
    trials_root: str | list[str] | None
    shuffle_buffer: int
    cache_dir: str

    def __post_init__(self) -> None:
        if self.shuffle_buffer < 1:
            raise ValueError(f"shuffle_buffer={self.shuffle_buffer} must be at least 1")

    def load(self, progress: Progress | None = None) -> Corpus:
        """Read the index, check that every shard is there, and find the trials."""
        if find_spec("webdataset") is None:
            raise InputError("data=shards needs the library webdataset: pip install 'speakerlab[shards]'")
        index = self._index(progress)
        if len(index.speakers) < 2:
            raise InputError(f"data.root={self.root} holds {len(index.speakers)} speakers; training needs at least 2")
        trials, development = self._trials(index)
        check_apart(set(index.folders), development)
        check_both_kinds(trials)
        notes = [
            f"shards: {len(index):,} utterances of {len(index.speakers):,} speakers in {len(index.shards):,} shards",
            f"{len(trials):,} development trials",
            *_namesakes(index, trials),
        ]
        return Corpus(Shards(index, self.shuffle_buffer), trials, development, tuple(notes))

    def _index(self, progress: Progress | None) -> ShardIndex:
        root = self.root if is_url(self.root) else str(Path(self.root).expanduser().absolute())
        if not is_url(root) and not Path(root).exists():
            raise InputError(f"data.root={self.root}: there is no such folder or list of shards")
        is_list = root.endswith((".list", ".txt")) or (not is_url(root) and Path(root).is_file())
        if is_list or (not is_url(root) and size_of(joined(root, INDEX)) is None):
            return scan_shards(root, Path(self.cache_dir).expanduser(), os.cpu_count() or 1, progress)
        index = read_index(root)
        check_present(index)
        return index

    def _trials(self, index: ShardIndex) -> tuple[Trials, list[Path]]:
        path = Path(self.trials or Path(index.root, HELDOUT, TRIALS)).expanduser()
        if self.trials is None and self.trials_root is not None:
            raise InputError("data.trials_root is given without data.trials: add data.trials=LIST")
        if self.trials is None and (is_url(index.root) or not path.is_file()):
            raise InputError(
                f"{index.root}: has no {HELDOUT}/{TRIALS} on this machine: pack with --heldout-speakers "
                f"(and copy the folder {HELDOUT} here), or give data.trials=LIST data.trials_root=FOLDER"
            )
        trials = read_trials(path)
        given = [self.trials_root] if isinstance(self.trials_root, str) else self.trials_root
        roots = [Path(root).expanduser() for root in given] if given else [path.parent]
        return trials, locate_utterances(trials, roots)


def _namesakes(index: ShardIndex, trials: Trials) -> list[str]:
    """A word of warning where development files lie in folders that are named like training speakers: the shards may
    have come from another machine, whose folders can't be compared."""
    names = [name for name in trials.utterances if not index.speakers.keys().isdisjoint(name.split("/")[:-1])]
    if not names:
        return []
    return [
        f"warning: {len(names):,} of {len(trials.utterances):,} development utterances lie in folders named like "
        f"training speakers, such as {names[0]}: if they are the same people, the EER flatters"
    ]
