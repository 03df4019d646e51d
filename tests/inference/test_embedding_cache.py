"""What is kept, found again, shared among processes, killed, damaged and thrown away."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from speakerlab import InputError
from speakerlab.data.utterances import Utterances, utterances_in_files
from speakerlab.inference import embedding_cache as module
from speakerlab.inference.embedding_cache import KEY_BYTES, MOST_PARTS, EmbeddingCache, audio_keys, model_key, trim

CPU = torch.device("cpu")


def keys(*numbers: int) -> np.ndarray:
    return np.frombuffer(b"".join(number.to_bytes(KEY_BYTES, "little") for number in numbers), f"V{KEY_BYTES}")


def rows(*numbers: int, dim: int = 3) -> np.ndarray:
    """What belongs to a key."""
    return np.array([[number, -number, 0.5] + [0.25] * (dim - 3) for number in numbers], np.float32)


def open_cache(folder: Path, model: str = "m", gigabytes: float = 1.0) -> EmbeddingCache:
    return EmbeddingCache(folder, model, gigabytes)


def keep(folder: Path, *numbers: int, model: str = "m") -> None:
    cache = open_cache(folder, model)
    cache.add(keys(*numbers), rows(*numbers))
    cache.close()


def assert_found(folder: Path, wanted: list[int], there: list[int], model: str = "m") -> None:
    found, embeddings = open_cache(folder, model).find(keys(*wanted))
    assert found.tolist() == [number in there for number in wanted]
    if there:
        np.testing.assert_array_equal(embeddings[found], rows(*(number for number in wanted if number in there)))


def test_what_is_kept_is_found(tmp_path):
    found, embeddings = open_cache(tmp_path).find(keys(1, 2))
    assert found.tolist() == [False, False] and embeddings is None
    keep(tmp_path, 1, 2, 300, 0)
    keep(tmp_path, 5)
    assert_found(tmp_path, [5, 7, 300, 1, 2, 0, 256, 1], [5, 300, 1, 2, 0])
    assert_found(tmp_path, [1, 2], [], model="other")
    assert_found(tmp_path, [7, 8], [])


def test_another_key_finds_the_same_row(tmp_path):
    cache = open_cache(tmp_path)
    cache.add(keys(1, 2, 3), rows(1, 2, 3), keys(11, 2, 13))
    cache.close()
    keep(tmp_path, 4)
    found, embeddings = open_cache(tmp_path).find(keys(13, 11, 12, 3, 2, 4))
    assert found.tolist() == [True, True, False, True, True, True]
    np.testing.assert_array_equal(embeddings[found], rows(3, 1, 3, 2, 4))
    for number in range(100, 100 + MOST_PARTS):
        keep(tmp_path, number)
    assert len(list((tmp_path / "m").iterdir())) < MOST_PARTS  # they were put together
    found, embeddings = open_cache(tmp_path).find(keys(13, 11))
    np.testing.assert_array_equal(embeddings, rows(3, 1))


def test_what_is_not_finite_is_not_kept(tmp_path):
    cache = open_cache(tmp_path)
    bad = rows(1, 2, 3)
    bad[1, 0], bad[2, 2] = np.nan, np.inf
    cache.add(keys(1, 2, 3), bad)
    cache.close()
    assert_found(tmp_path, [1, 2, 3], [1])


def test_rows_are_on_the_disk_while_it_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EVERY", 0.0)
    cache = open_cache(tmp_path)
    for number in range(6):
        cache.add(keys(number), rows(number))
        assert_found(tmp_path, [*range(6)], [*range(number + 1)])
    assert len(list((tmp_path / "m").iterdir())) == 6
    cache.close()
    assert len(list((tmp_path / "m").iterdir())) == 1  # put together
    assert_found(tmp_path, [*range(7)], [*range(6)])


def test_many_small_parts_are_put_together(tmp_path):
    for number in range(MOST_PARTS + 1):
        keep(tmp_path, number, 1000)  # which all have in common
    parts = list((tmp_path / "m").iterdir())
    assert len(parts) == 1
    assert_found(tmp_path, [*range(MOST_PARTS + 1), 1000], [*range(MOST_PARTS + 1), 1000])
    keep(tmp_path, 2000)
    assert len(list((tmp_path / "m").iterdir())) == 2


def test_the_least_recently_used_go_first(tmp_path):
    for number, model in enumerate(("a", "b", "c")):
        keep(tmp_path, number, model=model)
        (part,) = (tmp_path / model).iterdir()
        os.utime(part, (number, number))
    size = part.stat().st_size
    assert_found(tmp_path, [0], [0], model="a")  # used now
    trim(tmp_path, 2 * size)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["a", "c"]
    cache = open_cache(tmp_path, "d", gigabytes=1.5 * size / 1e9)
    cache.add(keys(9), rows(9))
    cache.close()
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["d"]
    assert_found(tmp_path, [9], [9], model="d")


def test_parts_that_vanish_while_they_are_looked_through(tmp_path, monkeypatch):
    """Another process put them together after they were listed."""
    keep(tmp_path, 1, 2)
    cache = open_cache(tmp_path)
    listings = [[tmp_path / "m" / "gone.arrow"], cache._parts()]
    monkeypatch.setattr(cache, "_parts", lambda: listings.pop(0))
    found, embeddings = cache.find(keys(1, 2))
    assert found.all()
    np.testing.assert_array_equal(embeddings, rows(1, 2))


def test_a_damaged_part_costs_what_was_in_it(tmp_path):
    keep(tmp_path, 1)
    (first,) = (tmp_path / "m").iterdir()
    keep(tmp_path, 2)
    for content in (first.read_bytes()[:-100], b"", b"no arrow"):
        first.write_bytes(content)
        assert_found(tmp_path, [1, 2], [2])
        assert not first.exists()


def test_leftovers_of_the_killed_go_after_a_day(tmp_path):
    keep(tmp_path, 1)
    young, old = tmp_path / "m" / ".young.arrow.1.tmp", tmp_path / "m" / ".old.arrow.1.tmp"
    for path, age in ((young, 3600), (old, 2 * 86400)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    trim(tmp_path, 1e9)
    assert young.exists() and not old.exists()
    assert_found(tmp_path, [1], [1])


def test_a_full_disk_ends_nothing(tmp_path, caplog):
    (tmp_path / "m").write_text("a file where the folder should be")
    cache = open_cache(tmp_path)
    cache.add(keys(1), rows(1))
    with caplog.at_level("WARNING", logger="speakerlab"):
        cache.close()
        cache.add(keys(2), rows(2))
        cache.close()
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["embeddings are not kept"]


def work(folder: str, number: int) -> None:
    """A process that keeps and looks up for a while."""
    module.EVERY = 0.0
    for turn in range(8):
        cache = open_cache(Path(folder))
        mine = [1000 * number + 10 * turn + i for i in range(10)]
        for one in (*mine, 7):
            cache.add(keys(one), rows(one))
        cache.close()
        assert_found(Path(folder), mine, mine)


def test_several_processes_at_once(tmp_path):
    """More parts than are kept apart, so that they put each other's together while others read."""
    processes = [multiprocessing.get_context("fork").Process(target=work, args=(str(tmp_path), n)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    every = [1000 * number + i for number in range(4) for i in range(80)]
    assert_found(tmp_path, [*every, 7, 99999], [*every, 7])


ENDLESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_embedding_cache import keys, rows, open_cache, module
module.EVERY = 0.0
number = 0
while True:
    cache = open_cache(Path(sys.argv[1]))
    for _ in range(5):
        cache.add(keys(number), rows(number))
        print(number, flush=True)
        number += 1
    cache.close()
"""


def test_kill_9_at_any_time_breaks_nothing(tmp_path):
    here = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path), here], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:  # what is told is on the disk
        if int(line) == 40:
            break
    time.sleep(0.003)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert_found(tmp_path, [*range(41)], [*range(41)])
    keep(tmp_path, 100_000)
    assert_found(tmp_path, [*range(41), 100_000], [*range(41), 100_000])


def test_keys_are_of_the_audio(tmp_path):
    files = [tmp_path / name for name in ("a", "b")]
    for file in files:
        file.write_bytes(b"sound")
        os.utime(file, ns=(10, 10))

    def whole() -> list[bytes]:
        return [key.tobytes() for key in audio_keys(utterances_in_files(["x", "y"], files))]

    first = whole()
    assert len({*first}) == 2 and whole() == first
    renamed = audio_keys(utterances_in_files(["other", "names"], [str(file) for file in files]))
    assert [key.tobytes() for key in renamed] == first
    os.utime(files[0], ns=(10, 11))
    assert whole()[0] != first[0] and whole()[1] == first[1]
    os.utime(files[0], ns=(10, 10))
    assert whole() == first
    files[0].write_bytes(b"noise and sound")
    os.utime(files[0], ns=(10, 10))
    assert whole()[0] != first[0]
    parts = Utterances(["p", "q", "r"], [str(files[1])] * 3, np.array([0, 5, 5]), np.array([5, 5, 6]), np.ones(3))
    assert len({key.tobytes() for key in audio_keys(parts)} | {*whole()}) == 5
    with pytest.raises(InputError, match="gone: can't be read"):
        audio_keys(utterances_in_files(["x"], [tmp_path / "gone"]))


def network(seed: int = 0, **arguments) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, **arguments))


def test_a_model_is_known_by_what_it_computes(monkeypatch):
    settings = {"model": {"width": 4}, "rate": 16000}
    first = model_key(network(), settings, CPU)
    assert model_key(network(), {"rate": 16000, "model": {"width": 4}}, CPU) == first
    assert len(first) == 32
    changed = network()
    changed[1].running_mean[2] += 1e-6
    others = [
        model_key(network(seed=1), settings, CPU),
        model_key(changed, settings, CPU),
        model_key(network(affine=False), settings, CPU),
        model_key(nn.ModuleList(network()), settings, CPU),
        model_key(network().double(), settings, CPU),
        model_key(network(), settings | {"rate": 8000}, CPU),
        model_key(network(), settings, torch.device("cuda")),
    ]
    monkeypatch.setattr(module, "_sources", lambda: b"this program, changed")
    others.append(model_key(network(), settings, CPU))
    assert len({first, *others}) == 9


def test_a_class_of_the_users_own_counts(tmp_path, monkeypatch):
    (tmp_path / "mine_for_the_cache.py").write_text("from torch import nn\nclass Mine(nn.Identity):\n    gain = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import mine_for_the_cache

    before = model_key(mine_for_the_cache.Mine(), {}, CPU)
    (tmp_path / "mine_for_the_cache.py").write_text("from torch import nn\nclass Mine(nn.Identity):\n    gain = 2\n")
    assert model_key(mine_for_the_cache.Mine(), {}, CPU) != before
    sys.modules.pop("mine_for_the_cache")


def test_sources_are_of_this_program():
    package = Path(module.__file__).parent.parent
    assert all((package / name).exists() for name in module.SOURCES)
    assert len(module._sources()) == 32
