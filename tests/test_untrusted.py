"""Crafted checkpoints: each is refused in a line, before it costs memory or time."""

import copy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from recognizers import write_checkpoint

from speakerlab import InputError
from speakerlab.build import load_checkpoint, network_from_checkpoint
from speakerlab.untrusted import check_archive

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "best.ckpt")


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_zip(path: Path, files: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def pickled(code: bytes) -> dict[str, bytes]:
    return {"a/data.pkl": b"\x80\x02" + code + b".", "a/version": b"3\n", "a/byteorder": b"little"}


def write_crafted(good: Path, folder: Path) -> None:
    """Files that would cost gigabytes, minutes, or run code."""
    files = entries(good)
    first = next(name for name in files if "/data/" in name)
    write_zip(folder / "packed.ckpt", files | {first: bytes(100 << 20)}, zipfile.ZIP_DEFLATED)
    write_zip(folder / "short.ckpt", files | {first: files[first][:4]})  # its pickle says that it is longer
    write_zip(folder / "bytes.ckpt", pickled(b"cbuiltins\nbytearray\n(L" + b"9" * 11 + b"L\ntR"))
    write_zip(folder / "tensor.ckpt", pickled(b"ctorch\nTensor\n(L" + b"9" * 11 + b"L\ntR"))
    write_zip(folder / "code.ckpt", pickled(b"cos\nsystem\n(X\x04\x00\x00\x00truetR"))
    write_zip(folder / "two.ckpt", files | {"b/data.pkl": b"."})
    write_zip(folder / "none.ckpt", {"a": b"b"})
    write_zip(folder / "deep.ckpt", pickled(b"]" * 200_000 + b"a" * 199_999))
    write_zip(folder / "steps.ckpt", pickled(b"]" * (15 << 20)))
    old = b"\x80\x02" + b"]" * (15 << 20) + b"."  # which torch would read, and not the archive behind it
    (folder / "behind.ckpt").write_bytes(old + good.read_bytes())
    contents = load_checkpoint(good)
    laughs = ["ha"] * 10
    for _ in range(30):
        laughs = [laughs] * 10  # 10 ** 31 values in a kilobyte
    huge = torch.zeros(1).as_strided((1 << 20, 1 << 20), (0, 0))
    crafted = {
        "laughs": {"config": contents["config"] | {"name": laughs}},
        "strided": {"state_dict": contents["state_dict"] | {"network.encoder.project.weight": huge}},
        "speakers": {"speakers": 3},
        "weights": {"state_dict": [1, 2]},
        "config": {"config": 3},
    }
    for name, changes in {
        "channels": {"model.encoder.channels": 16000},
        "wide": {"model.encoder.channels": 10**12},
        "negative": {"model.encoder.channels": -5},
        "long": {"model.encoder.dilations": [2] * 90_000},
        "mels": {"features.num_mels": 10**6},
        "nan": {"features.num_mels": float("nan")},
        "fft": {"features.fft_size": 2**40},
        "frames": {"frames.target_frames": 10**12},
        "rate": {"loader.sample_rate": 10**12},
        "text": {"loader.sample_rate": "16000"},
        "environment": {"features.num_mels": "${oc.env:HOME}"},
        "list": {"model": [1]},
        "none": {"features": None},
    }.items():
        config = copy.deepcopy(contents["config"])
        for key, value in changes.items():
            *above, last = key.split(".")
            node = config
            for part in above:
                node = node[part]
            node[last] = value
        crafted[f"config_{name}"] = {"config": config}
    shared = torch.zeros(10**6)  # of which a thousand tensors are no more numbers
    weights = contents["state_dict"] | {f"network.{number}": shared for number in range(1000)}
    crafted["shared"] = crafted["config_channels"] | {"state_dict": weights}
    for name, changes in crafted.items():
        torch.save(contents | changes, folder / f"{name}.ckpt")


CHECK = """
import resource, sys, time
from pathlib import Path
from speakerlab import InputError
from speakerlab.build import load_checkpoint, network_from_checkpoint
good = network_from_checkpoint(load_checkpoint(sys.argv[1]))  # what a load needs anyway is not what is measured
usage = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (usage + 600_000_000,) * 2)
for path in sorted(Path(sys.argv[2]).iterdir()):
    began = time.process_time()
    try:
        network_from_checkpoint(load_checkpoint(path))
        print(path.stem, "loaded")
    except InputError as error:
        print(path.stem, str(error).count("\\n"), len(str(error)) < 500, time.process_time() - began < 5, error)
"""


def test_crafted_checkpoints_cost_neither_memory_nor_time(good, tmp_path):
    write_crafted(good, tmp_path)
    command = [sys.executable, "-c", CHECK, str(good), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert len(lines) == len(list(tmp_path.iterdir())) and len(lines) > 20
    wrong = {name: line for name, line in lines.items() if not line.startswith("0 True True ")}
    assert not wrong
    for name, message in {
        "packed": "unpacks to more than it is",
        "bytes": "names builtins bytearray",
        "code": "names os system",
        "laughs": "larger than any config",
        "strided": "no plain tensors",
        "behind": "does not begin as an archive",
        "steps": "its pickle takes over 1,",
        "shared": "larger network than its weights are",
        "config_channels": "larger network than its weights are",
        "config_mels": "num_mels=1000000",
        "config_long": "over 2,000 settings",
        "config_rate": "sample_rate",
        "config_environment": "not resolved",
    }.items():
        assert message in lines[name], lines[name]


def test_a_good_one_is_loaded(good):
    network = network_from_checkpoint(load_checkpoint(good))
    assert network.embed_dim == 8


def test_many_speakers_are_no_attack(tmp_path):
    """Their names take two steps each; their class weights make the file as large as that needs."""
    names = [f"id{number:07}" for number in range(550_000)]
    torch.save({"speakers": names, "weights": torch.zeros(len(names), 16)}, tmp_path / "a.ckpt")
    check_archive(tmp_path / "a.ckpt")


def test_overlapping_entries_are_more_than_the_file(good, tmp_path):
    """A directory that names one tensor's bytes a thousand times."""
    files = entries(good)
    write_zip(tmp_path / "a.ckpt", files)
    with zipfile.ZipFile(tmp_path / "a.ckpt", "a") as archive:
        info = max(archive.infolist(), key=lambda entry: entry.file_size)
        for n in range(1000):
            again = copy.copy(info)
            again.filename = f"{info.filename}_{n}"
            archive.filelist.append(again)
        archive._didModify = True
    with pytest.raises(InputError, match="unpacks to more than it is"):
        load_checkpoint(tmp_path / "a.ckpt")
