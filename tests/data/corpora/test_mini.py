"""The corpus `mini`: the same bytes whoever writes it, honest trials, and voices that measure as they should."""

import dataclasses
import shutil
import subprocess
import sys

import librosa
import numpy as np
import pytest
import soundfile
from scipy import signal
from scipy.optimize import brentq

from speakerlab import InputError
from speakerlab.data.corpora.mini import GENERATOR_VERSION, MiniCorpus, make_mini
from speakerlab.data.synthesis.channel import minimum_phase
from speakerlab.data.synthesis.layout import MiniLayout, draw_trials, speaker_gender
from speakerlab.data.synthesis.rendering import (
    SAMPLE_RATE,
    Glottis,
    Tracks,
    Zeros,
    glottal_pulses,
    render,
    tilt_response,
)
from speakerlab.data.synthesis.speech import write_speaker, write_speakers
from speakerlab.data.synthesis.voice import draw_voice

SMALL = MiniLayout(train_speakers=2, test_speakers=4, sessions=2, utterances=1)


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The small corpus, written by this process."""
    return make_mini(tmp_path_factory.mktemp("cache"), workers=1, layout=SMALL)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return make_mini(tmp_path_factory.mktemp("cache"))


def test_layout(small):
    files = contents(small)
    assert small.name.startswith(f"mini-v{GENERATOR_VERSION}-")
    assert len(files) == 6 * 2 * 1 + 2
    assert {"dev/id00001/session1/00001.flac", "test/id00003/session2/00001.flac"} <= set(files)
    lines = files["speakers.csv"].decode().splitlines()
    assert lines[:3] == ["speaker,split,gender", "id00001,dev,f", "id00002,dev,m"]
    assert [line.split(",")[1] for line in lines[1:]] == ["dev"] * 2 + ["test"] * 4


def test_recordings(small):
    for path in small.rglob("*.flac"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert 2.3 < info.duration < 4.8
        samples, _ = soundfile.read(path)
        assert 0.005 < np.sqrt(np.mean(samples**2)) < 0.3
        assert np.abs(samples).max() < 0.96
        # Speech comes and goes: the loudest tenth of 20 ms frames is far above the quietest.
        energy = np.sort((samples[: len(samples) // 320 * 320].reshape(-1, 320) ** 2).mean(axis=1))
        assert 10 * np.log10(energy[-len(energy) // 10] / energy[len(energy) // 20]) > 12


def test_worker_count_does_not_change_bytes(small, tmp_path):
    calls = []
    root = make_mini(tmp_path, workers=2, progress=lambda *call: calls.append(call), layout=SMALL)
    assert contents(root) == contents(small)
    assert calls == [(done, 12) for done in range(2, 13, 2)]


def test_people_do_not_depend_on_how_many_there_are(small, tmp_path):
    write_speaker(tmp_path, MiniLayout(), 1)
    path = "dev/id00001/session2/00001.flac"
    assert (tmp_path / path).read_bytes() == (small / path).read_bytes()


def test_every_recording_is_its_own(small):
    files = contents(small)
    assert len(set(files.values())) == len(files)


def test_complete_corpus_is_returned_at_once(small):
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    assert make_mini(small.parent, workers=1, layout=SMALL) == small
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_killed_run_leaves_nothing_in_the_way(tmp_path, small, monkeypatch):
    def killed(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_mini(tmp_path, workers=2, progress=killed, layout=SMALL)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / f".{small.name}.0123" / "dev").mkdir(parents=True)  # what SIGKILL would leave
    monkeypatch.setattr("speakerlab.data.corpora.mini.STALE_SECONDS", -1)
    assert contents(make_mini(tmp_path, workers=1, layout=SMALL)) == contents(small)
    assert [path.name for path in tmp_path.iterdir()] == [small.name]


def test_loser_of_a_race_takes_the_winners_corpus(tmp_path, small):
    def rival(done, total):
        if done == total:
            shutil.copytree(small, tmp_path / small.name)
            (tmp_path / small.name / "winner").touch()

    root = make_mini(tmp_path, workers=1, progress=rival, layout=SMALL)
    assert (root / "winner").exists()
    assert [path.name for path in tmp_path.iterdir()] == [small.name]


@pytest.mark.parametrize("lost", ["trials.txt", "dev/id00001", "test/id00005/session1/00001.flac"])
def test_what_a_cleaner_of_caches_took_is_made_anew(tmp_path, small, lost):
    shutil.copytree(small, tmp_path / small.name)
    gone = tmp_path / small.name / lost
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    assert contents(make_mini(tmp_path, workers=1, layout=SMALL)) == contents(small)


def test_workers_load_no_slow_library():
    """Starting a worker is a large part of the time: none of torch, and of SciPy the transforms alone."""
    code = "import sys, speakerlab.data.synthesis.speech; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "scipy.fft" in loaded
    assert not loaded & {"torch", "pandas", "pyarrow", "librosa", "scipy.signal", "scipy.ndimage", "scipy.stats"}


def test_a_worker_that_cant_write_says_so(tmp_path):
    (tmp_path / "dev").write_text("a file where the workers want a folder")
    with pytest.raises(InputError, match="can't be written .*Not a directory.*; make room, or set cache_dir"):
        list(write_speakers(tmp_path, SMALL, workers=2))


def test_dead_worker_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="died"):
        list(write_speakers(tmp_path, SMALL, workers=2))


@pytest.mark.parametrize("field", ["train_speakers", "test_speakers", "sessions", "utterances", "seed"])
def test_bad_layout_names_the_field(field):
    with pytest.raises(ValueError, match=f"{field}=-1"):
        MiniLayout(**{field: -1})


def test_bad_workers(tmp_path):
    with pytest.raises(ValueError, match="workers=0"):
        make_mini(tmp_path, workers=0)


def test_trial_rules():
    layout = MiniLayout()
    trials = draw_trials(layout)
    assert 2000 <= len(trials) <= 5000
    assert len({frozenset(trial[1:]) for trial in trials}) == len(trials)
    assert sum(label for label, *_ in trials) * 2 == len(trials)
    for label, enrol, test in trials:
        (split, first, first_session, _), (other_split, second, second_session, _) = enrol.split("/"), test.split("/")
        assert split == other_split == "test"
        assert label == (first == second)
        assert speaker_gender(int(first[2:])) == speaker_gender(int(second[2:]))
        if label:
            assert first_session != second_session
    assert len({trial[1].split("/")[1] for trial in trials}) == layout.test_speakers


def test_trials_file(small):
    lines = (small / "trials.txt").read_text().splitlines()
    assert lines == [f"{label} {enrol} {test}" for label, enrol, test in draw_trials(SMALL)]
    assert all((small / path).is_file() for line in lines for path in line.split()[1:])


def sustained(pitch_hz, formants_hz, rows=200):
    """One second of an unchanging vowel; formants above the given ones are those of a uniform tube."""
    whole = np.array([*formants_hz, 3500.0, 4500.0, 5500.0, 6500.0])
    zero = np.zeros(rows)
    return Tracks(
        pitch_hz=np.full(rows, pitch_hz),
        formants_hz=np.tile(whole, (rows, 1)),
        bandwidths_hz=np.full((rows, 7), 80.0),
        voiced=np.ones(rows),
        breath=np.full(rows, 0.003),
        hiss=zero,
        hiss_hz=zero + 4000,
        hiss_width_hz=zero + 2000,
        nasal=zero,
    )


GLOTTIS = Glottis(open_quotient=0.6, tilt_db=6.0, jitter=0.005, shimmer=0.03)
ZEROS = Zeros(nasal_zero_hz=1000.0, nasal_pole_hz=260.0, fossa_zero_hz=4500.0, fossa_width_hz=500.0)
VOWELS = [(730.0, 1090.0, 2440.0), (270.0, 2290.0, 3010.0), (500.0, 1500.0, 2500.0)]


@pytest.mark.parametrize("pitch_hz", [80.0, 118.0, 205.0, 330.0])
@pytest.mark.parametrize("vowel", VOWELS)
def test_pitch_by_autocorrelation(pitch_hz, vowel):
    speech = render(sustained(pitch_hz, vowel), GLOTTIS, ZEROS, np.random.default_rng(0))[4000:12000].astype(float)
    correlation = np.correlate(speech, speech, mode="full")[len(speech) - 1 :]
    lags = np.arange(int(SAMPLE_RATE / 450), int(SAMPLE_RATE / (0.7 * pitch_hz)))
    assert SAMPLE_RATE / lags[np.argmax(correlation[lags])] == pytest.approx(pitch_hz, rel=0.02)


@pytest.mark.parametrize("vowel", VOWELS)
def test_formants_by_linear_prediction(vowel):
    """A low voice, whose harmonics are close, so that linear prediction finds formants and not harmonics."""
    speech = render(sustained(75.0, vowel), GLOTTIS, ZEROS, np.random.default_rng(0))[4000:12000].astype(float)
    emphasised = np.diff(speech) * np.hanning(len(speech) - 1)
    roots = np.roots(librosa.lpc(emphasised, order=20))
    hz, width = np.angle(roots) * SAMPLE_RATE / (2 * np.pi), -np.log(np.abs(roots)) * SAMPLE_RATE / np.pi
    found = np.sort(hz[(hz > 150) & (width < 400)])
    for formant in vowel:
        assert np.abs(found - formant).min() < max(0.06 * formant, 40), (formant, found)


def test_render_is_finite_and_repeats():
    tracks = sustained(118.0, VOWELS[0])
    speech = render(tracks, GLOTTIS, ZEROS, np.random.default_rng(3))
    assert speech.shape == (200 * 80,)
    assert np.isfinite(speech).all() and np.std(speech) > 0.1
    np.testing.assert_array_equal(speech, render(tracks, GLOTTIS, ZEROS, np.random.default_rng(3)))


def test_frames_filter_as_one_filter_does():
    """A tract at rest: overlap-add agrees with the recursive filter run over the whole excitation."""
    tracks = dataclasses.replace(sustained(118.0, VOWELS[0]), breath=np.zeros(200))
    still = Glottis(open_quotient=0.6, tilt_db=6.0, jitter=0.0, shimmer=0.0)
    speech = render(tracks, still, ZEROS, np.random.default_rng(0))
    expected = recursive(tracks, still)
    error = speech[1000:15000] - expected[1000:15000]
    assert 10 * np.log10(np.mean(error**2) / np.mean(expected[1000:15000] ** 2)) < -25


def recursive(tracks, glottis):
    """Klatt's cascade of SciPy's recursive filters over the same pulses; the nose, shut, cancels itself."""
    pitch = np.repeat(tracks.pitch_hz, 80)
    speech, _ = glottal_pulses(pitch, np.ones(300), np.ones(300), glottis.open_quotient)
    turn = np.exp(-2j * np.pi * 3000 / SAMPLE_RATE)
    pole = brentq(lambda a: 20 * np.log10((1 - a) / abs(1 - a * turn)) + glottis.tilt_db, 0, 0.99)
    speech = signal.lfilter([1 - pole], [1, -pole], speech)
    for hz, width in zip(tracks.formants_hz[0], tracks.bandwidths_hz[0], strict=True):
        section = np.poly(np.exp(np.pi * (-width + 2j * hz * np.array([1, -1])) / SAMPLE_RATE)).real
        speech = signal.lfilter([section.sum()], section, speech)
    zero = np.poly(np.exp(np.pi * (-ZEROS.fossa_width_hz + 2j * ZEROS.fossa_zero_hz * np.array([1, -1])) / SAMPLE_RATE))
    return signal.lfilter(zero.real / zero.real.sum(), [1], speech)


def test_tilt_loses_what_it_says():
    response = np.abs(tilt_response(9.0))
    assert response[0] == pytest.approx(1)
    assert 20 * np.log10(response[3000 // 25]) == pytest.approx(-9.0, abs=0.01)  # bins of 25 Hz


def test_minimum_phase_keeps_the_magnitude():
    wanted = 6 * np.cos(np.linspace(0, np.pi, 257)) + 2 * np.sin(np.linspace(0, 9, 257))
    taps = minimum_phase(wanted)
    np.testing.assert_allclose(20 * np.log10(np.abs(np.fft.rfft(taps))), wanted, atol=0.05)
    assert np.sum(taps[:64] ** 2) > 0.95 * np.sum(taps**2)  # the energy comes first


def test_genders_differ_and_people_too():
    men = [draw_voice(np.random.default_rng([9, n]), "m") for n in range(60)]
    women = [draw_voice(np.random.default_rng([9, n]), "f") for n in range(60)]
    assert np.median([v.pitch_hz for v in men]) < 140 < 180 < np.median([v.pitch_hz for v in women])
    assert np.median([v.formant_scale for v in women]) / np.median([v.formant_scale for v in men]) > 1.1
    for field in dataclasses.fields(men[0]):
        assert np.std([np.ravel(getattr(voice, field.name))[0] for voice in men]) > 0, field.name


def naive_eer(labels, scores):
    """The least, over all thresholds, of the greater error rate."""
    targets, others = scores[labels == 1], scores[labels == 0]
    return min(max(np.mean(targets < threshold), np.mean(others >= threshold)) for threshold in scores)


@pytest.mark.slow
def test_mean_mfcc_does_not_solve_it(full):
    """The corpus must be hard: the cosine of mean MFCCs stays above 20 % EER, with and without energy and mean."""
    trials = [line.split() for line in (full / "trials.txt").read_text().splitlines()]
    labels = np.array([int(label) for label, *_ in trials])
    means = {}
    for path in sorted({path for _, *pair in trials for path in pair}):
        samples, rate = soundfile.read(full / path, dtype="float32")
        means[path] = librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=20).mean(axis=1)
    centre = np.mean(list(means.values()), axis=0)
    for offset in (np.zeros(20), centre):
        for first in (0, 1):
            units = {path: (mean - offset)[first:] for path, mean in means.items()}
            units = {path: unit / np.linalg.norm(unit) for path, unit in units.items()}
            scores = np.array([units[enrol] @ units[test] for _, enrol, test in trials])
            assert 0.20 < naive_eer(labels, scores) < 0.48


@pytest.mark.slow
def test_full_corpus(full):
    assert full.name == f"mini-v{GENERATOR_VERSION}"
    assert len(list(full.glob("dev/*"))) == 80 and len(list(full.glob("test/*"))) == 24
    assert len(list(full.rglob("*.flac"))) == 104 * 12


def test_as_a_corpus_for_either_task(full):
    verification = MiniCorpus("verification", 1, str(full.parent)).load()
    assert len(verification.train) == 960 and verification.validation is None
    assert len({name.split("/")[1] for name in verification.trials.utterances}) == 24
    parts = {}
    for seed in (1, 2):
        corpus = MiniCorpus("identification", seed, str(full.parent)).load()
        parts[seed] = [corpus.train, corpus.validation, corpus.test]
        assert corpus.trials is None and [len(part) for part in parts[seed]] == [320, 320, 320]
        for part in parts[seed]:
            sessions = set(zip(part["speaker"].to_pylist(), part["session"].to_pylist(), strict=True))
            assert len(sessions) == 80 == len(set(part["speaker"].to_pylist()))
    assert not parts[1][0].equals(parts[2][0])


def test_few_may_judge(full):
    whole = MiniCorpus("verification", 1, str(full.parent)).load().trials
    trials = MiniCorpus("verification", 1, str(full.parent), test_speakers=5).load().trials
    names = sorted({name.split("/")[1] for name in whole.utterances})[:5]
    pairs = [(trials.utterances[a], trials.utterances[b]) for a, b in zip(trials.enrol, trials.test, strict=True)]
    expected = [
        (label, whole.utterances[a], whole.utterances[b], line)
        for label, a, b, line in zip(whole.labels, whole.enrol, whole.test, whole.lines, strict=True)
        if {whole.utterances[a].split("/")[1], whole.utterances[b].split("/")[1]} <= set(names)
    ]
    found = [(label, *pair, line) for label, pair, line in zip(trials.labels, pairs, trials.lines, strict=True)]
    assert found == expected and set(trials.labels.tolist()) == {0, 1}
    few = MiniCorpus("identification", 1, str(full.parent), test_speakers=4).load()
    assert len(few.validation) == 16 and len(set(few.validation["speaker"].to_pylist())) == 4
    assert few.notes[-1] == "of val, the 16 utterances of the first 4 speakers"
    every = MiniCorpus("identification", 1, str(full.parent), test_speakers=80).load()
    assert not any("of val" in line for line in every.notes)
    with pytest.raises(ValueError, match="test_speakers=3 must be at least 4"):
        MiniCorpus("verification", 1, "", test_speakers=3)


def test_a_folder_that_workers_cannot_write(tmp_path):
    (tmp_path / "file").write_text("in the way of a folder")
    with pytest.raises(InputError, match=r"file: can't be written \(.*Not a directory.*\); make room"):
        list(write_speakers(tmp_path / "file", SMALL, workers=2))
