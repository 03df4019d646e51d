"""The cache against the files that it was made of, and makers that are killed, doubled and starved."""

import csv
import logging
import mmap
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from speakerlab import InputError
from speakerlab.data import pcm_making
from speakerlab.data.audio import read_audio
from speakerlab.data.manifest import as_manifest, file_of
from speakerlab.data.pcm import PcmRecordings, cache_pcm
from speakerlab.data.recordings import AudioFiles

FORK = multiprocessing.get_context("fork")
RATE = 16000


def make_table(root, files: list[tuple[str, int, int]]) -> pa.Table:
    """Of (name, samples, rate); each file is noise."""
    for number, (name, samples, rate) in enumerate(files):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(-20000, 20000, samples).astype(np.int16)
        soundfile.write(root / name, noise, rate)
    names, samples, rates = zip(*files, strict=True)
    rows = len(files)
    columns = {
        "utterance": list(names),
        "speaker": [name.split("/")[0] for name in names],
        "session": [""] * rows,
        "root": [str(root)] * rows,
        "path": list(names),
        "first_sample": [0] * rows,
        "samples": list(samples),
        "sample_rate": list(rates),
        "split": [""] * rows,
        "gender": [""] * rows,
    }
    return as_manifest(pa.table(columns), "test")


@pytest.fixture
def table(tmp_path) -> pa.Table:
    """Twenty files of 16 kHz and different lengths."""
    kinds = ("flac", "wav")
    return make_table(tmp_path / "voices", [(f"s{i % 4}/{i}.{kinds[i % 2]}", 4000 + 100 * i, RATE) for i in range(20)])


def make(table, folder, share=0.0, **options) -> PcmRecordings:
    return cache_pcm(table, RATE, folder, share, workers=2, **options)


def test_crops_equal_those_of_the_files_to_the_bit(table, tmp_path):
    cached, files = make(table, tmp_path), AudioFiles(table, RATE)
    np.testing.assert_array_equal(cached.rows, np.arange(20))
    np.testing.assert_array_equal(cached.samples, files.samples)
    np.testing.assert_array_equal(cached.sample_rates, files.sample_rates)
    for row in range(20):
        for first, count, speed in [
            (0, 4000, 1.0),
            (3999, 1, 1.0),
            (123, 3000, 1.1),
            (0, int(files.samples[row]), 1.0),
        ]:
            crop = cached.read(row, first, count, speed)
            assert crop.dtype == np.float32
            np.testing.assert_array_equal(crop, files.read(row, first, count, speed))
    assert (cached.folder / "audio.pcm").stat().st_size == 2 * table["samples"].to_numpy().sum()
    assert not (cached.folder / "parts").exists()


def test_other_rates_and_lossy_files_are_decoded_at_the_caches_own(tmp_path):
    files = [("s/a.wav", 8001, 8000), ("s/b.flac", 44101, 44100), ("s/c.ogg", 16000, RATE), ("s/d.wav", 11025, 11025)]
    table = make_table(tmp_path / "voices", files)
    cached = make(table, tmp_path)
    assert cached.sample_rates.tolist() == [RATE] * 4
    for row, expected in enumerate([16002, 16000, 16000, 16000]):
        whole = read_audio(file_of(table, row))
        assert cached.samples[row] == len(whole) == expected
        # Rounded to 16 bits, whose largest value is a step below 1.
        np.testing.assert_allclose(cached.read(row, 0, expected), whole, atol=1.01 / 2**15)


def test_samples_that_a_row_does_not_have_are_refused(table, tmp_path):
    cached = make(table, tmp_path)
    for first, count in [(-1, 10), (0, 4001), (4000, 1), (10, 0)]:
        with pytest.raises(ValueError, match=f"row 0 has 4000 samples; {first} to {first + count}"):
            cached.read(0, first, count)


def test_it_is_made_once_and_known_by_the_content(table, tmp_path, caplog):
    caplog.set_level(logging.INFO, "speakerlab")
    logging.getLogger("speakerlab").propagate = True
    done = []
    first = make(table, tmp_path, progress=lambda *counts: done.append(counts))
    assert done[-1] == (20, 20)
    (line,) = caplog.messages
    assert "decoding 20 utterances to 198.0 kB in" in line and str(first.folder) in line and "GB free" in line
    stamp = (first.folder / "audio.pcm").stat().st_mtime_ns
    # The same rows in other pieces of memory, under other speakers, are the same audio.
    pieces = pa.concat_tables([table.slice(0, 7), table.slice(7, 5), table.slice(12)])
    pieces = pieces.set_column(1, "speaker", pa.array(["x"] * 20))
    again = make(pieces, tmp_path)
    assert again.folder == first.folder and (again.folder / "audio.pcm").stat().st_mtime_ns == stamp
    assert len(caplog.messages) == 1
    others = {cache_pcm(table, 8000, tmp_path, 0.0).folder, make(table.slice(1), tmp_path).folder, first.folder}
    assert len(others) == 3 and all(folder.name.startswith("voices-") for folder in others)


def test_a_worker_gets_the_mapping_and_not_the_audio(table, tmp_path):
    cached = make(table, tmp_path)
    sent = pickle.dumps(cached)
    assert len(sent) < 1000
    received = pickle.loads(sent)
    np.testing.assert_array_equal(received.read(7, 100, 2000), cached.read(7, 100, 2000))
    for array in (cached.audio, cached.samples, cached.starts):
        assert type(array) is np.ndarray  # a np.memmap takes microseconds to slice
        while isinstance(array, np.ndarray):
            array = array.base
        assert isinstance(array, mmap.mmap)


def spoil(table, rows) -> None:
    for row in rows:
        file_of(table, row).write_bytes(b"no audio")


def listed(folder) -> list[list[str]]:
    """Path and reason of each."""
    with open(folder / "left_out.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "reason", "row", "stamp"]
    return [row[:2] for row in rows]


def test_what_cant_be_read_is_left_out_and_listed(table, tmp_path):
    spoil(table, [3, 8])
    cached = make(table, tmp_path, share=0.1)
    assert cached.rows.tolist() == [row for row in range(20) if row not in (3, 8)]
    files = AudioFiles(table, RATE)
    for place, row in enumerate(cached.rows):
        np.testing.assert_array_equal(cached.read(place, 50, 900), files.read(row, 50, 900))
    assert listed(cached.folder) == [
        [str(file_of(table, row)), "not readable as audio (Format not recognised)"] for row in (3, 8)
    ]


@pytest.fixture
def tried(monkeypatch) -> list[int]:
    """Rows that were decoded since the list was last cleared."""
    rows, whole = [], AudioFiles.read

    def read(self, row, *arguments):
        rows.append(row)
        return whole(self, row, *arguments)

    monkeypatch.setattr(AudioFiles, "read", read)
    return rows


def test_what_has_been_mended_is_tried_again(table, tmp_path, tried):
    """Of what is left out, that alone whose file is another, and that once."""
    files = [file_of(table, row) for row in (3, 8, 15)]
    contents = [file.read_bytes() for file in files]
    spoil(table, [3, 8])
    files[2].rename(tmp_path / "away")  # a disk that is not there
    cached = make(table, tmp_path, share=0.2)
    assert len(cached.rows) == 17
    tried.clear()
    assert len(make(table, tmp_path, share=0.2).rows) == 17 and tried == []  # nothing has changed
    files[0].write_bytes(contents[0])
    (tmp_path / "away").rename(files[2])
    files[1].write_bytes(b"still no audio")
    mended = make(table, tmp_path, share=0.05)
    assert sorted(tried) == [3, 8, 15] and mended.folder == cached.folder
    assert [path for path, _ in listed(cached.folder)] == [str(files[1])]
    assert mended.rows.tolist() == [row for row in range(20) if row != 8]
    for place, row in enumerate(mended.rows):
        np.testing.assert_array_equal(mended.read(place, 50, 900), read_audio(file_of(table, row), 50, 900))
    assert cached.read(3, 0, 100).shape == (100,)  # who opened it before is not disturbed
    tried.clear()
    assert len(make(table, tmp_path, share=0.05).rows) == 19 and tried == []
    files[1].write_bytes(contents[1])
    assert len(make(table, tmp_path).rows) == 20 and listed(cached.folder) == []


def test_a_run_that_goes_on_keeps_the_utterances_that_it_began_with(table, tmp_path):
    content = file_of(table, 3).read_bytes()
    spoil(table, [3])
    make(table, tmp_path, share=0.1)
    file_of(table, 3).write_bytes(content)
    assert len(make(table, tmp_path, share=0.1, mend=False).rows) == 19


def test_the_share_is_checked_at_every_opening(table, tmp_path):
    spoil(table, [3, 8])
    listed = make(table, tmp_path, share=0.1).folder / "left_out.csv"
    for mend in (True, False):
        with pytest.raises(InputError) as caught:
            make(table, tmp_path, share=0.05, mend=mend)
        assert str(caught.value) == (
            "pcm cache: 2 of 20 utterances (10.0 %) can't be used, more than loader.max_bad_share=0.05 allows; such as "
            f"{file_of(table, 3)}: not readable as audio (Format not recognised); all are listed in {listed}"
        )
    assert len(make(table, tmp_path, share=0.1).rows) == 18


def test_a_list_of_another_version_is_made_anew(table, tmp_path, tried):
    spoil(table, [3])
    folder = make(table, tmp_path, share=0.1).folder
    (folder / "left_out.csv").write_text(f"path,reason\n{file_of(table, 3)},not readable\n")
    tried.clear()
    assert len(make(table, tmp_path, share=0.1).rows) == 19 and tried == [3]
    assert listed(folder) == [[str(file_of(table, 3)), "not readable as audio (Format not recognised)"]]


def test_a_cache_that_cant_be_written_to_is_used_as_it_is(table, tmp_path, monkeypatch, caplog):
    content = file_of(table, 3).read_bytes()
    spoil(table, [3])
    folder = make(table, tmp_path, share=0.1).folder
    file_of(table, 3).write_bytes(content)
    (folder / "lock").unlink()
    (folder / "lock").mkdir()  # rights would not keep root out
    logging.getLogger("speakerlab").propagate = True
    assert len(make(table, tmp_path, share=0.1).rows) == 19
    assert "stay left out" in caplog.text and str(folder) in caplog.text


@pytest.mark.parametrize("share, rows", [(0.1, [3, 8, 15]), (1.0, range(20))])
def test_too_much_of_it_stops_and_is_tried_again(table, tmp_path, share, rows):
    whole = {row: file_of(table, row).read_bytes() for row in rows}
    spoil(table, rows)
    with pytest.raises(InputError) as caught:
        make(table, tmp_path, share=share)
    (folder,) = (tmp_path / "pcm").iterdir()
    line = str(caught.value)
    limit = "more than loader.max_bad_share=0.1 allows" if share < 1 else "which leaves none"
    assert line.startswith(f"pcm cache: {len(rows)} of 20 utterances ({5 * len(rows)}.0 %) can't be used, {limit}; ")
    assert f"{file_of(table, 3)}: not readable" in line or len(rows) == 20
    assert str(folder / "left_out.csv") in line and "\n" not in line
    assert len(listed(folder)) == len(rows) and not (folder / "index.npy").exists()
    for row, content in whole.items():
        file_of(table, row).write_bytes(content)
    np.testing.assert_array_equal(make(table, tmp_path).rows, np.arange(20))
    assert listed(folder) == []


def test_a_disk_that_is_too_small_is_said_before_anything(table, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 9 * 10**5, 10**5))
    size = 2 * int(table["samples"].to_numpy().sum()) / 1e3
    with pytest.raises(InputError, match=rf"needs {size:.1f} kB in .*voices-.*, where 100.0 kB are free; .*cache_dir"):
        make(table, tmp_path)


def in_parts(monkeypatch) -> None:
    """Some four utterances a part."""
    monkeypatch.setattr(pcm_making, "PART_SAMPLES", 20000)


def killed(table, folder, renames: int) -> None:
    """A maker that dies when its n-th part is complete under another name."""

    def work():
        seen = 0

        def watch(event, arguments):
            nonlocal seen
            if event == "os.rename" and str(arguments[1]).endswith(".json"):
                seen += 1
                if seen == renames:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        cache_pcm(table, RATE, folder, 0.0, workers=1)

    process = FORK.Process(target=work)
    process.start()
    process.join(60.0)
    assert process.exitcode == -signal.SIGKILL


def test_a_kill_loses_the_part_under_way(table, tmp_path, monkeypatch):
    in_parts(monkeypatch)
    reference = make(table, tmp_path / "undisturbed").folder
    for renames in (2, 1, 2):  # the next one starts where this one ended
        killed(table, tmp_path, renames)
    (folder,) = (tmp_path / "pcm").iterdir()
    assert not (folder / "index.npy").exists()
    known = sorted(int(path.stem) for path in (folder / "parts").glob("[0-9]*.json"))
    assert known == [0, 4]  # one more a kill but the second, which struck at the first part
    read, whole = [], AudioFiles.read

    def count(self, row, *arguments):
        read.append(row)
        return whole(self, row, *arguments)

    monkeypatch.setattr(AudioFiles, "read", count)
    make(table, tmp_path)
    assert min(read) == known[-1] + 4 and sorted(read) == list(range(min(read), 20))
    for name in ("audio.pcm", "index.npy", "left_out.csv"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes()


def test_two_at_once_decode_once(table, tmp_path, monkeypatch):
    in_parts(monkeypatch)
    reference = make(table, tmp_path / "undisturbed").folder
    whole, log = AudioFiles.read, tmp_path / "read"

    def slowly(self, row, *arguments):
        with open(log, "a") as file:
            file.write(f"{row}\n")
        time.sleep(0.01)
        return whole(self, row, *arguments)

    def work():
        AudioFiles.read = slowly
        cached = cache_pcm(table, RATE, tmp_path, 0.0, workers=2)
        os._exit(0 if len(cached.rows) == 20 else 1)

    processes = [FORK.Process(target=work) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60.0)
        assert process.exitcode == 0
    (folder,) = (tmp_path / "pcm").iterdir()
    assert (folder / "audio.pcm").read_bytes() == (reference / "audio.pcm").read_bytes()
    assert sorted(map(int, log.read_text().split())) == list(range(20))


def test_audio_that_is_gone_or_cut_off(table, tmp_path, monkeypatch):
    cached = make(table, tmp_path)
    whole = (cached.folder / "audio.pcm").read_bytes()
    (cached.folder / "audio.pcm").write_bytes(whole[:-2])
    with pytest.raises(InputError, match=f"audio.pcm has been cut off; remove {cached.folder}"):
        make(table, tmp_path)
    (cached.folder / "audio.pcm").unlink()
    make(table, tmp_path)
    assert (cached.folder / "audio.pcm").read_bytes() == whole
    # Half made, and what was made removed: its records are worth nothing.
    in_parts(monkeypatch)
    shutil.rmtree(cached.folder)
    killed(table, tmp_path, 3)
    (cached.folder / "audio.pcm").unlink()
    make(table, tmp_path)
    assert (cached.folder / "audio.pcm").read_bytes() == whole


def test_some_of_its_rows(table, tmp_path):
    """Counted anew, also in a worker's copy."""
    cached = make(table, tmp_path)
    some = cached.only(np.array([3, 11]))
    for part in (some, pickle.loads(pickle.dumps(some))):
        np.testing.assert_array_equal(part.rows, [3, 11])
        np.testing.assert_array_equal(part.samples, cached.samples[[3, 11]])
        np.testing.assert_array_equal(part.read(1, 7, 100), cached.read(11, 7, 100))
