"""Many files: rows in their order, faults told, workers that die or are interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recognizers import KnownEngine, card, write_checkpoint

from speakerlab import InputError
from speakerlab.data.pool import Crash
from speakerlab.inference import decoder, many_files, pieces
from speakerlab.inference.engines import load_engine
from speakerlab.inference.many_files import embed_files
from speakerlab.inference.pieces import embed_heard
from speakerlab.scoring.cosine import unit_rows

ROOT = Path(__file__).parents[2]


def write(path: Path, seconds: float, seed: int = 0, rate: int = 16000) -> str:
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * rate)), rate)
    return str(path)


@pytest.fixture
def files(tmp_path) -> list[str]:
    """Of different lengths, in no order; the fourth is none and the sixth is NaN."""
    lengths = [0.5, 1.5, 0.7, 1.0, 1.1, 0.9, 0.25, 1.5]
    paths = [write(tmp_path / f"{n}.wav", seconds, n) for n, seconds in enumerate(lengths)]
    Path(paths[3]).write_text("no audio")
    soundfile.write(paths[5], np.full(9000, np.nan), 16000, subtype="FLOAT")
    return [*paths[:2], str(tmp_path / "missing.wav"), *paths[2:]]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_rows_are_in_the_order_of_the_files(files, workers, batch_size):
    engine, told = KnownEngine(card()), []
    found = embed_files(engine, files, batch_size, workers, lambda done, total: told.append((done, total)))
    good = [path for path in files if Path(path).name not in ("3.wav", "5.wav", "missing.wav")]
    assert found.names == good and found.rows.dtype == np.float32
    expected = [embed_heard(engine, decoder.hear(path, None, 16000))[0] for path in good]
    np.testing.assert_allclose(found.rows, np.stack(expected), rtol=1e-6)
    np.testing.assert_allclose(found.seconds, [soundfile.info(path).duration for path in good])
    assert {Path(name).name: reason.split(" (")[0] for name, reason in found.faults.items()} == {
        "missing.wav": "can't be opened",
        "3.wav": "not readable as audio",
        "5.wav": "holds NaN or infinite samples; write the file anew",
    }
    assert found.notes == {files[7]: ("0.25 s are too short to tell a speaker by",)}
    assert told[0] == (2, 9) and told[-1] == (9, 9) and told == sorted(told)
    assert max(map(len, engine.batches)) <= batch_size


def test_a_networks_rows_are_those_of_each_file_alone(files, tmp_path):
    engine = load_engine(write_checkpoint(tmp_path / "best.ckpt"), "cpu")
    found = embed_files(engine, files, batch_size=8)
    alone = [embed_heard(engine, decoder.hear(name, None, 16000))[0] for name in found.names]
    np.testing.assert_allclose(unit_rows(found.rows), unit_rows(np.stack(alone)), atol=1e-5)


@pytest.mark.parametrize("suffix", [".wav", ".m4a"])  # by each of the two decoders
def test_a_name_that_no_file_can_have_costs_itself_alone(tmp_path, suffix):
    good = write(tmp_path / "0.wav", 0.5)
    found = embed_files(KnownEngine(card()), [f"a\0b{suffix}", good])
    assert found.names == [good]
    assert found.faults == {f"a\0b{suffix}": "can't be opened (no file can be called so)"}


def test_one_too_short_for_the_model_costs_itself_alone(tmp_path):
    files = [write(tmp_path / f"{n}.wav", seconds) for n, seconds in enumerate((0.5, 0.15, 0.4))]
    found = embed_files(KnownEngine(card()), files)
    assert found.names == [files[0], files[2]] and found.faults == {files[1]: "too short for this model"}


def test_long_ones_are_embedded_in_pieces(tmp_path, monkeypatch):
    for module in (pieces, many_files):
        monkeypatch.setattr(module, "PIECE_SECONDS", 1.0)
    files = [write(tmp_path / f"{n}.wav", seconds, n) for n, seconds in enumerate((0.5, 2.0))]
    engine = KnownEngine(card())
    found = embed_files(engine, files)
    assert sorted(engine.batches) == [[8000], [16000], [16000]]
    assert found.notes == {files[1]: ("0.0 minutes were embedded in 2 pieces and averaged",)}


def test_one_file_twice_and_none_at_all(files):
    engine = KnownEngine(card())
    found = embed_files(engine, [files[0], files[1], files[0]])
    assert found.names == [files[0], files[1], files[0]]
    np.testing.assert_array_equal(found.rows[0], found.rows[2])
    nothing = embed_files(engine, [])
    assert nothing.names == [] and nothing.rows.shape == (0, 3) and nothing.faults == {}


def test_a_decoder_that_crashes_costs_one_file(files, monkeypatch, tmp_path):
    package = tmp_path / "patched"
    package.mkdir()
    (package / "sitecustomize.py").write_text(
        "import os, sys, signal\n"
        "def watch(event, arguments):\n"
        "    if event == 'open' and str(arguments[0]).endswith('/1.wav'):\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "sys.addaudithook(watch)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(package))
    found = embed_files(KnownEngine(card()), files, num_workers=2)
    assert found.faults[files[1]] == Crash("crashed the decoder (SIGSEGV)").how
    assert len(found.names) == 5 and len(found.faults) == 4


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"num_workers": -1}, {"num_workers": 10**6}])
def test_numbers_out_of_range(files, arguments):
    with pytest.raises(InputError, match="must lie in"):
        embed_files(KnownEngine(card()), files, **arguments)


SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells switch off in what they run in the background
sys.path.insert(0, "tests")
from recognizers import KnownEngine, card
from speakerlab.inference.many_files import embed_files
try:
    files, tell = sys.argv[1:] * 3000, lambda done, total: print(done, flush=True)
    embed_files(KnownEngine(card()), files, num_workers=2, progress=tell)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_leaves_nothing_behind(files):
    """As a terminal does it: the whole group gets the signal."""
    began = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, files[0]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert began.stdout.readline() and began.stdout.readline()
    os.killpg(began.pid, signal.SIGINT)
    out, err = began.communicate(timeout=60)
    assert out.endswith("interrupted\n") and began.returncode == 0 and "Traceback" not in err
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        try:
            os.killpg(began.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("a worker is left")
