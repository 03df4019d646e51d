"""The Python API on real files: scores are those of evaluate.py, decisions and probabilities those of the card."""

import hashlib
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from recognizers import SMALL, KnownEngine, card, write_checkpoint, write_run

from speakerlab import InputError
from speakerlab.cli.launch import compose
from speakerlab.cli.progress import progress_bar
from speakerlab.inference import SpeakerRecognizer
from speakerlab.inference.kept_calibration import KeptCalibration
from speakerlab.inference.material import find_material
from speakerlab.inference.model import find_trials
from speakerlab.inference.scoring import score
from speakerlab.inference.source import open_source
from speakerlab.scoring.calibration import Calibration

ROOT = Path(__file__).parents[2]
COSINE = {"backend": "cosine", "norm": "none", "crops": 0, "measures": []}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "small" / "2026-01-31_12-00-00")


@pytest.fixture(scope="module")
def recognizer(run) -> SpeakerRecognizer:
    return SpeakerRecognizer.load(run, device="cpu")


def evaluated(checkpoint: Path, folders) -> dict[tuple[str, str], float]:
    """What evaluate.py finds of the development list, by the same steps."""
    given = {"ckpt": checkpoint, "trials": folders.trials, "trials_root": folders.development, "cache_gigabytes": 0}
    places = {"num_workers": 0, "device": "cpu"}
    cfg = compose("evaluate", [f"{key}={value}" for key, value in (given | places).items()])[0]
    source = open_source(cfg, (), progress_bar)
    trials, utterances = find_trials(cfg, source.checkpoint)
    embed = source.systems["model"]
    material = find_material(cfg.scoring, source.checkpoint, utterances, cfg.cache_dir, None)
    scored = score(cfg.scoring, trials, utterances, embed(utterances), material, embed, progress_bar)
    names = trials.utterances
    pairs = [(names[a], names[b]) for a, b in zip(trials.enrol, trials.test, strict=True)]
    return dict(zip(pairs, scored.scores.tolist(), strict=True))


NETWORKS = {
    "ecapa": [],
    "fixed_frames": ["frames.target_frames=60"],
    "training_set": ["norm=training_set"],
    "deltas": ["frames.deltas=1", "norm=instance"],
    "identification": ["task=identification"],
}


BRANCHES = {
    "small": "[model=xvector,model.encoder.channels=8,model.encoder.pooled_channels=8]",
    "other": "[model=xvector,model.encoder.channels=8,model.encoder.pooled_channels=8,features=mfcc]",
}
FUSION = [f"model.branches={{{', '.join(f'{name}: {{overrides: {given}}}' for name, given in BRANCHES.items())}}}"]


@pytest.mark.parametrize("overrides", [*NETWORKS.values(), FUSION], ids=[*NETWORKS, "fusion"])
def test_scores_are_those_of_evaluate(tmp_path, folders, overrides):
    base = ["model=fusion"] if overrides is FUSION else SMALL
    checkpoint = write_checkpoint(tmp_path / "best.ckpt", *overrides, base=base)
    scores = evaluated(checkpoint, folders)
    recognizer = SpeakerRecognizer.load(checkpoint, device="cpu")
    assert len(scores) == 36 and np.ptp(list(scores.values())) > 2e-3
    for pair in list(scores)[::5]:
        found = recognizer.verify(*(folders.development / name for name in pair))
        assert found.score == pytest.approx(scores[pair], abs=1e-5)
        assert found.notes == (f"no threshold, so no decision: {recognizer.card.threshold_from}",)


def test_a_runs_folder_knows_its_threshold(recognizer, folders):
    a, b = folders.development / "s0/a/0.flac", folders.development / "s1/a/0.flac"
    found = recognizer.verify(a, b)
    assert found.threshold == 0.25 and found.same == (found.score >= 0.25)
    assert (found.llr, found.probability, found.notes) == (None, None, ())
    assert recognizer.verify(a, b, threshold=-1).same and not recognizer.verify(a, b, threshold=1).same
    same = recognizer.verify(a, a)
    assert same.score == pytest.approx(1.0, abs=1e-6) and same.same


def test_arrays_score_as_their_files(recognizer, folders):
    a, b = folders.development / "s0/a/0.flac", folders.development / "s1/a/0.flac"
    arrays = [soundfile.read(path, dtype="float32")[0] for path in (a, b)]
    score = recognizer.verify(a, b).score
    assert recognizer.verify(*arrays, sample_rate=16000).score == pytest.approx(score, abs=1e-6)
    mixed = recognizer.verify(a, torch.from_numpy(arrays[1])[None], sample_rate=16000)
    assert mixed.score == pytest.approx(score, abs=1e-6)
    row = recognizer.embed(a)
    assert row.shape == (8,) and row.dtype == np.float32
    np.testing.assert_allclose(recognizer.embed(arrays[0], 16000), row, atol=1e-6)


def calibrated(weight: float, offset: float, **recipe) -> SpeakerRecognizer:
    calibration = Calibration(("score",), (weight,), offset)
    kept = KeptCalibration(COSINE | recipe, calibration, {"eer": 0.5}, {"eer": 0.0}, "dev.txt")
    return SpeakerRecognizer(KnownEngine(card(calibration=kept)))


def tone(mean: float, seconds: float = 1.0) -> np.ndarray:
    """Alternating samples about a mean."""
    samples = np.full(round(seconds * 16000), mean)
    samples[::2] += 0.1
    samples[1::2] -= 0.1
    return samples


def test_ratios_and_probabilities():
    recognizer, pair = calibrated(8.0, -4.0), (tone(0.5), tone(-0.5))
    rows = np.array([[0.5, 0.26, 1.0], [-0.5, 0.26, 1.0]])
    score = rows[0] @ rows[1] / np.linalg.norm(rows[0]) ** 2
    found = recognizer.verify(*pair, sample_rate=16000)
    assert found.score == pytest.approx(score, abs=1e-5)
    llr = 8 * score - 4
    assert found.llr == pytest.approx(llr, abs=1e-4)
    assert found.probability == pytest.approx(math.exp(llr) / (math.exp(llr) + 1), abs=1e-5)
    rare = recognizer.verify(*pair, sample_rate=16000, p_target=0.01)
    assert rare.probability == pytest.approx(0.01 * math.exp(llr) / (0.01 * math.exp(llr) + 0.99), abs=1e-5)
    assert rare.llr == found.llr


@pytest.mark.parametrize("recipe", [{"norm": "s"}, {"crops": 5}, {"backend": "plda"}, {"measures": ["duration"]}])
def test_a_calibration_of_another_scoring_is_not_applied(recipe):
    found = calibrated(8.0, -4.0, **recipe).verify(tone(0.5), tone(0.4), sample_rate=16000)
    assert found.llr is None and found.probability is None
    assert found.notes == ("the model's calibration is of another scoring than the cosine and not applied",)


def test_notes_name_the_recording(tmp_path):
    recognizer = SpeakerRecognizer(KnownEngine(card(threshold=None, threshold_from="nobody measured")))
    soundfile.write(tmp_path / "a.wav", tone(0.1, 0.25), 16000)
    found = recognizer.verify(tmp_path / "a.wav", np.stack([tone(0.1), tone(0.1)]), sample_rate=16000)
    assert found.notes == (
        f"{tmp_path}/a.wav: 0.25 s are too short to tell a speaker by",
        "the second: 2 channels were averaged",
        "no threshold, so no decision: nobody measured",
    )
    assert found.same is None and found.threshold is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"threshold": 2.0}, "threshold=2.0 must lie in -1 to 1"),
        ({"threshold": math.nan}, "threshold=nan"),
        ({"p_target": 0.0}, "p_target=0.0 must lie between 0 and 1"),
        ({"p_target": 1.0}, "p_target=1.0"),
    ],
)
def test_numbers_out_of_range(recognizer, arguments, message):
    with pytest.raises(InputError, match=message):
        recognizer.verify("a.wav", "b.wav", **arguments)


def test_too_short_for_the_model_names_the_recording():
    recognizer = SpeakerRecognizer(KnownEngine(card()))
    with pytest.raises(InputError, match="the second: too short for this model"):
        recognizer.verify(tone(0.1), tone(0.1, 0.15), sample_rate=16000)


def test_enrolled_speakers_are_found_and_strangers_are_not(tmp_path):
    recognizer = SpeakerRecognizer(KnownEngine(card(threshold=0.99)), tmp_path / "g.sqlite")
    for name, mean in (("ann", 0.5), ("bob", -0.5), ("cid", 0.0)):
        for n in range(3):
            soundfile.write(tmp_path / f"{name}{n}.wav", tone(mean + 0.01 * n, 1.0 + 0.1 * n), 16000, "FLOAT")
    with pytest.raises(InputError, match="nobody is enrolled yet"):
        recognizer.identify(tmp_path / "ann0.wav")
    files = [tmp_path / f"ann{n}.wav" for n in range(3)]
    added = recognizer.enroll("ann", [*files[:2], "missing.wav"])
    assert (added.name, added.recordings, added.seconds) == ("ann", 2, pytest.approx(2.1))
    assert list(added.faults) == ["missing.wav"] and "can't be opened" in added.faults["missing.wav"]
    recognizer.enroll("bob", [tmp_path / "bob0.wav"])
    found = recognizer.identify(files[2], top=5)
    assert [one.name for one in found.candidates] == ["ann", "bob"] and found.accepted == "ann"
    units = [row / np.linalg.norm(row) for row in (recognizer.embed(file) for file in files)]
    centroid = (units[0] + units[1]) / np.linalg.norm(units[0] + units[1])
    assert found.candidates[0].score == pytest.approx(float(centroid @ units[2]), abs=1e-6)
    assert [len(recognizer.identify(files[2], top=1).candidates)] == [1]
    stranger = recognizer.identify(tmp_path / "cid0.wav")
    assert stranger.accepted is None and stranger.candidates[0].score < 0.99
    assert recognizer.identify(tmp_path / "cid0.wav", threshold=-1).accepted is not None
    again = SpeakerRecognizer(KnownEngine(card(threshold=0.99)), tmp_path / "g.sqlite")
    assert again.identify(files[2]).candidates == found.candidates


def test_what_is_not_enrolled(tmp_path):
    recognizer = SpeakerRecognizer(KnownEngine(card()), tmp_path / "g.sqlite")
    with pytest.raises(InputError, match=r"'ann' was not enrolled: missing\.wav: can't be opened"):
        recognizer.enroll("ann", ["missing.wav"])
    with pytest.raises(InputError, match="no files were given"):
        recognizer.enroll("ann", [])
    with pytest.raises(InputError, match="give a list of files"):
        recognizer.enroll("ann", "ann.wav")
    with pytest.raises(InputError, match="control"):
        recognizer.enroll("a\nb", ["missing.wav"])
    with pytest.raises(InputError, match="top=0"):
        recognizer.identify("a.wav", top=0)
    assert not (tmp_path / "g.sqlite").exists()


def test_another_models_gallery_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.1), 16000)
    SpeakerRecognizer(KnownEngine(card()), tmp_path / "g.sqlite").enroll("ann", [tmp_path / "a.wav"])
    other = SpeakerRecognizer(KnownEngine(card(fingerprint="1" * 64)), tmp_path / "g.sqlite")
    with pytest.raises(InputError, match="model"):
        other.identify(tmp_path / "a.wav")


def test_a_file_must_have_the_hash_that_is_given(tmp_path, run):
    checkpoint = run / "checkpoints" / "best.ckpt"
    right = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert SpeakerRecognizer.load(checkpoint, device="cpu", sha256=right.upper()).card.name == "small"
    with pytest.raises(InputError, match=f"is not the file that was asked for: its SHA-256 is {right}"):
        SpeakerRecognizer.load(checkpoint, sha256="0" * 64)
    with pytest.raises(InputError, match="can't be read"):
        SpeakerRecognizer.load(run, sha256=right)


@pytest.mark.parametrize("source", ["missing.ckpt", "missing"])
def test_models_that_are_not_there(source):
    with pytest.raises(InputError, match="there is no such file"):
        SpeakerRecognizer.load(source)


def test_a_precision_reaches_the_engine(run):
    assert SpeakerRecognizer.load(run, device="cpu", precision="bf16").engine.autocast == torch.bfloat16
    assert SpeakerRecognizer.load(run, device="cpu").engine.autocast is None


def test_a_device_that_is_not_here(run):
    with pytest.raises(InputError, match="device=cuda:7 is not here"):
        SpeakerRecognizer.load(run, device="cuda:7")


WITHOUT_TORCH = """
import sys
from speakerlab.inference import ModelCard, SpeakerRecognizer
import speakerlab.inference.gallery, speakerlab.inference.hearing, speakerlab.inference.decoder
print(sorted({"torch", "torchaudio", "pytorch_lightning", "omegaconf", "hydra", "pyarrow", "sklearn", "scipy"}
      & {name.split(".")[0] for name in sys.modules}))
"""


def test_the_api_imports_no_torch():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
