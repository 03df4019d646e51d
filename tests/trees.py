"""Corpora in the layouts of the real ones, made of the embedded corpus, and a host's archives of them."""

import csv
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
import yaml

from speakerlab.data.corpora.mini import make_mini
from speakerlab.data.synthesis.layout import MiniLayout
from speakerlab.shipped import CONF

LAYOUT = MiniLayout(train_speakers=3, test_speakers=4, sessions=2, utterances=2)
NATIONS = ("Ireland", "USA", "India")


def write_m4a(path: Path, samples: np.ndarray, rate: int = 16000) -> None:
    """`(samples,)` in [-1, 1] as VoxCeleb2 has it: AAC in MP4, mono."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=rate, layout="mono", bit_rate=64000)
        frame = av.AudioFrame.from_ndarray(np.atleast_2d(samples).astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        for part in (frame, None):
            output.mux(stream.encode(part))


def voxceleb(root: Path, cache: Path, kind: int, layout: MiniLayout = LAYOUT) -> list[str]:
    """VoxCeleb1 (WAV) or VoxCeleb2 (m4a) with `dev` and `test`, and its speaker table; the files' paths."""
    source, paths, people = make_mini(cache, workers=1, layout=layout), [], []
    with open(source / "speakers.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    first = 10001 if kind == 1 else 1  # no number is in both corpora
    numbers = {"dev": iter(range(first, first + 269)), "test": iter(range(first + 269, first + 309))}
    for row in rows:
        split, speaker = row["split"], f"id{next(numbers[row['split']]):05d}"
        people.append((speaker, row["gender"], NATIONS[len(people) % 3], split))
        for file in sorted((source / split / row["speaker"]).rglob("*.flac")):
            video = f"video{file.parent.name[-1]}-{speaker[-3:]}"
            folder, suffix = ("wav", "wav") if kind == 1 else ("aac", "m4a")
            paths.append(f"{split}/{folder}/{speaker}/{video}/{file.stem}.{suffix}")
            samples, rate = soundfile.read(file, dtype="float32")
            (root / paths[-1]).parent.mkdir(parents=True, exist_ok=True)
            if kind == 1:
                soundfile.write(root / paths[-1], samples, rate, subtype="PCM_16")
            else:
                write_m4a(root / paths[-1], samples)
    (root / f"vox{kind}_meta.csv").write_text(_meta(kind, people))
    return sorted(paths)


def _meta(kind: int, people: list[tuple[str, str, str, str]]) -> str:
    """In the two files' own styles: tabs, and commas with blanks before them."""
    if kind == 1:
        rows = [f"{speaker}\tSome_One\t{gender}\t{nation}\t{split}" for speaker, gender, nation, split in people]
        return "\n".join(["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet", *rows]) + "\n"
    rows = [f"{speaker} ,n000001 ,{gender} ,{split} " for speaker, gender, _, split in people]
    return "\n".join(["VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set ", *rows]) + "\n"


@dataclass(frozen=True)
class Hosted:
    """A folder to serve, and the sources file that names its archives; `URL` in it stands for the host."""

    folder: Path
    sources: dict

    def write(self, path: Path, url: str) -> Path:
        """The sources file for a host at this address."""
        path.write_text(yaml.safe_dump(self.sources).replace("URL", url))
        return path


def host_voxceleb(tree: Path, folder: Path, kind: int, parts: int = 3) -> Hosted:
    """The archives of a tree of `voxceleb`: dev in parts, test in one, the metadata, with their real MD5s."""
    folder.mkdir(parents=True)
    sources = yaml.safe_load((CONF / "prepare" / f"voxceleb{kind}.yaml").read_text())
    inner = "wav" if kind == 1 else "aac"
    # As the real archives: VoxCeleb2's dev archive holds the folder dev, the others don't hold theirs.
    dev = _zip(tree, "dev", "" if kind == 2 else "dev")
    sizes = np.linspace(0, len(dev), parts + 1).astype(int)
    names = [f"vox{kind}_dev_{inner}_parta{letter}" for letter in "abcdefgh"[:parts]]
    for name, start, stop in zip(names, sizes[:-1], sizes[1:], strict=True):
        (folder / name).write_bytes(dev[start:stop])
    (folder / f"vox{kind}_test_{inner}.zip").write_bytes(_zip(tree, "test", "test"))
    meta = f"vox{kind}_meta.csv"
    (folder / meta).write_bytes((tree / meta).read_bytes())
    entries = [[_entry(folder / name) for name in names], [_entry(folder / f"vox{kind}_test_{inner}.zip")]]
    for archive, files in zip(sources["archives"], entries, strict=True):
        archive["parts"] = files
    sources |= {"archives_from": ["URL"], "lists_from": ["URL"], "expected": {}}
    sources["lists"] = [entry for entry in sources["lists"] if entry["name"] == meta]
    return Hosted(folder, sources)


def _entry(path: Path) -> dict:
    return {"name": path.name, "md5": hashlib.md5(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}


def _zip(tree: Path, split: str, below: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((tree / split).rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(tree / below))
    return buffer.getvalue()
