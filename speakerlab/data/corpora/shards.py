"""Shards on a disk or a web server as a corpus."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from speakerlab import InputError
from speakerlab.data import Progress, usable_cpus
from speakerlab.data.corpus import Corpus, check_apart, check_strangers
from speakerlab.data.fraction import check_fraction
from speakerlab.data.shards.foreign import scan_shards
from speakerlab.data.shards.heldout import HELDOUT, TRIALS
from speakerlab.data.shards.index import INDEX, ShardIndex, Shards, check_present, read_index
from speakerlab.data.shards.transport import is_url, joined, size_of
from speakerlab.data.tree import paths_of
from speakerlab.data.trials import Trials, check_both_kinds, find_trials_and_files


@dataclass
class ShardCorpus:
    """Shards that `speakerlab shard` packed, or WeSpeaker's.

    Args:
        root: folder or URL of the shards and their index; of tar files without an index (WeSpeaker's), their folder
            or the text file that lists them.
        trials: development trial list, or the name of an official one such as "vox1_o_cleaned" in `trials_root`; None
            takes the one over the speakers that were held out in packing.
        trials_root: folder, or list of folders, that the list's paths start from; None is the list's own folder.
        allow_overlap: train although training speakers are in the list, whose EER then flatters the model.
        shuffle_buffer: utterances that each data worker holds to draw the next one from.
        cache_dir: keeps what was found in shards without an index.
        fraction: of the shards that is trained on; 1 is all.

    Raises:
        ValueError: if `shuffle_buffer` is not positive, or the fraction out of range.
    """

    root: str
    trials: str | None
    trials_root: str | list[str] | None
    allow_overlap: bool
    shuffle_buffer: int
    cache_dir: str
    fraction: float = 1.0

    def __post_init__(self) -> None:
        check_fraction(self.fraction)
        if self.shuffle_buffer < 1:
            raise ValueError(f"shuffle_buffer={self.shuffle_buffer} must be at least 1")

    def load(self, progress: Progress | None = None) -> Corpus:
        """Read the index, check that every shard is there, and find the trials."""
        if find_spec("webdataset") is None:
            raise InputError("data=shards needs the library webdataset: pip install 'speakerlab[shards]'")
        index = find_index(self.root, Path(self.cache_dir).expanduser(), progress)
        if len(index.speakers) < 2:
            raise InputError(f"data.root={self.root} holds {len(index.speakers)} speakers; training needs at least 2")
        trials, development, notes = self._trials(index)
        check_both_kinds(trials)
        counts = f"{len(index):,} utterances of {len(index.speakers):,} speakers in {len(index.shards):,} shards"
        notes = (f"shards: {counts}", f"{len(trials):,} development trials", *notes)
        return Corpus(Shards(index, self.shuffle_buffer), trials, development, notes, fraction=self.fraction)

    def _trials(self, index: ShardIndex) -> tuple[Trials, list[Path], tuple[str, ...]]:
        """The list, its files, and what the log should say of them."""
        given = self.trials
        if given is None:
            if self.trials_root is not None:
                raise InputError("data.trials_root is given without data.trials: add data.trials=LIST")
            given = str(Path(index.root, HELDOUT, TRIALS))
            if is_url(index.root) or not Path(given).is_file():
                raise InputError(
                    f"{index.root}: has no {HELDOUT}/{TRIALS} on this machine: pack with --heldout-speakers "
                    f"(and copy the folder {HELDOUT} here), or give data.trials=LIST data.trials_root=FOLDER"
                )
        roots = paths_of(self.trials_root)
        trials, files = find_trials_and_files(given, roots)
        notes = check_strangers(trials, roots, list(index.speakers), self.allow_overlap)
        notes += check_apart(set(index.folders), files, self.allow_overlap)
        return trials, files, notes or _namesakes(index, trials)


def find_index(root: str, cache_dir: Path, progress: Progress | None) -> ShardIndex:
    """What is known of the shards that `data.root=` means: by their index, or by going through them.

    Raises:
        InputError: if there are none, or one is missing or damaged.
    """
    place = root if is_url(root) else str(Path(root).expanduser().absolute())
    if not is_url(place) and not Path(place).exists():
        raise InputError(f"data.root={root}: there is no such folder or list of shards")
    is_list = place.endswith((".list", ".txt")) or (not is_url(place) and Path(place).is_file())
    if is_list or (not is_url(place) and size_of(joined(place, INDEX)) is None):
        return scan_shards(place, cache_dir, usable_cpus(), progress)
    index = read_index(place)
    check_present(index)
    return index


def _namesakes(index: ShardIndex, trials: Trials) -> tuple[str, ...]:
    """A word of warning where development files lie in folders that are named like training speakers: the shards may
    have come from another machine, whose folders can't be compared."""
    names = [name for name in trials.utterances if not index.speakers.keys().isdisjoint(name.split("/")[:-1])]
    if not names:
        return ()
    return (
        f"warning: {len(names):,} of {len(trials.utterances):,} development utterances lie in folders named like "
        f"training speakers, such as {names[0]}: if they are the same people, the EER flatters",
    )
