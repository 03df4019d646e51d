"""A recipe from embeddings to scores, against its steps written out in loops."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

from speakerlab import InputError
from speakerlab.cli.launch import compose
from speakerlab.data.trials import Trials
from speakerlab.data.utterances import Utterances, utterances_in_files
from speakerlab.inference.crops import CroppedNetwork
from speakerlab.inference.material import Known, Material, trains
from speakerlab.inference.scoring import check_scoring, is_plain, recipe_name, score, scored_network
from speakerlab.losses.pair_mlp import PairMlp
from speakerlab.scoring.cosine import cosine_scores
from speakerlab.scoring.plda import length_normalised, train_plda
from speakerlab.shipped import CONF

DIM = 6
GENERATOR = np.random.default_rng(0)
ROWS = (GENERATOR.standard_normal((30, DIM)) + 0.5).astype(np.float32)
SECONDS = GENERATOR.uniform(1, 9, 30)
PAIRS = GENERATOR.integers(0, 30, (2, 200)).astype(np.int32)
TRIALS = Trials(
    GENERATOR.integers(0, 2, 200).astype(np.int8), *PAIRS, [f"u{i}" for i in range(30)], np.arange(200), "list"
)
KNOWN = (GENERATOR.standard_normal((60, DIM)) + 0.5).astype(np.float32)
NAMES = np.array([f"k{i}" for i in range(60)])
SPEAKERS = np.array([f"s{i % 12}" for i in range(60)])


def utterances(names, seconds, speakers=None) -> Utterances:
    nothing = np.zeros(len(names), np.int64)
    return Utterances(list(names), [f"/{name}.wav" for name in names], nothing, nothing, seconds, speakers)


def known(rows=slice(None), saved=None) -> Known:
    names = NAMES[rows]
    return Known(utterances(names, np.full(len(names), np.nan), SPEAKERS[rows].tolist()), saved)


torch.manual_seed(0)
DECIDING = Material(pair_mlp=PairMlp(DIM, 3, hidden=5).eval())
TESTED = utterances(TRIALS.utterances, SECONDS)


@contextmanager
def bar(_):
    yield lambda done, total: None


def recipe(*changes: str):
    given = [change if change.startswith("scoring=") else f"scoring.{change}" for change in changes]
    return compose("evaluate", ["ckpt=x", *given])[0].scoring


def embed(wanted: Utterances) -> np.ndarray:
    return KNOWN[[int(name[1:]) for name in wanted.names]]


def scored(*changes: str, material: Material | None = None):
    scoring = recipe(*changes)
    check_scoring(scoring)
    if material is None:
        material = Material(known() if trains(scoring) else None, None if scoring.norm == "none" else known())
    return score(scoring, TRIALS, TESTED, ROWS, material, embed, bar)


def cosine(a, b) -> float:
    a, b = a.astype(float), b.astype(float)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def speakers_mean(speaker: int) -> np.ndarray:
    return np.mean([KNOWN[i].astype(float) for i in range(60) if i % 12 == speaker], axis=0)


def test_the_default_is_what_training_measures():
    found = scored()
    np.testing.assert_array_equal(found.scores, cosine_scores(ROWS, *PAIRS))
    assert found.names == ("score",) and found.table.shape == (200, 1)


@pytest.mark.parametrize("norm", ["z", "t", "s"])
@pytest.mark.parametrize("top", [None, 4])
@pytest.mark.parametrize("means", [True, False])
@pytest.mark.parametrize("centred", [False, True])
def test_normalisation_by_a_loop(norm, top, means, centred):
    found = scored(
        f"norm={norm}", f"top_n={top or 'null'}", f"cohort_means={means}", f"subtract_mean={centred}", "block_mb=1"
    )
    mean = KNOWN.astype(float).mean(axis=0) if centred else 0.0
    cohort = [speakers_mean(s) for s in range(12)] if means else list(KNOWN.astype(float))
    for trial in range(0, 200, 7):
        a, b = (ROWS[PAIRS[side, trial]].astype(float) - mean for side in (0, 1))
        raw, parts = cosine(a, b), []
        for row in {"z": [a], "t": [b], "s": [a, b]}[norm]:
            impostors = sorted((cosine(row, other - mean) for other in cohort), reverse=True)[:top]
            parts.append((raw - np.mean(impostors)) / np.std(impostors))
        assert found.scores[trial] == pytest.approx(np.mean(parts), rel=1e-4, abs=1e-4)


def test_plda_and_its_normalisation():
    x = KNOWN.astype(float)
    mean, speakers = x.mean(axis=0), [f"s{i % 12}" for i in range(60)]
    model, _ = train_plda(length_normalised(x - mean), speakers)
    stack = np.concatenate([ROWS.astype(float), [speakers_mean(s) for s in range(12)]])
    ready = length_normalised(stack - mean)
    raw = model.scores(ready, *PAIRS)
    np.testing.assert_allclose(scored("backend=plda").scores, raw, rtol=1e-5, atol=1e-6)
    found = scored("backend=plda", "norm=s").scores
    for trial in range(0, 200, 11):
        parts = []
        for side in (0, 1):
            row = np.full(12, PAIRS[side, trial])
            impostors = model.scores(ready, row, np.arange(30, 42))
            parts.append((raw[trial] - impostors.mean()) / impostors.std())
        assert found[trial] == pytest.approx(np.mean(parts), rel=1e-4, abs=1e-4)


def test_the_pair_mlp_decides_with_measures_of_quality():
    found = scored("scoring=pair_mlp", "measures=[duration,magnitude]", material=DECIDING)
    first, second = (torch.from_numpy(ROWS[side]) for side in PAIRS)
    with torch.inference_mode():
        np.testing.assert_allclose(found.scores, DECIDING.pair_mlp.log_odds(first, second).numpy(), atol=1e-6)
    assert set(found.measures) == set(scored("measures=[duration,magnitude]").measures)
    assert np.array_equal(found.table[:, 1:], scored("measures=[duration,magnitude]").table[:, 1:])


def test_a_cohort_within_the_training_data_is_not_embedded_again():
    asked = []

    def counting(wanted):
        asked.append(len(wanted))
        return embed(wanted)

    scoring = recipe("norm=s", "subtract_mean=true")
    rows = np.flatnonzero([i % 12 < 5 for i in range(60)])
    shared = score(scoring, TRIALS, TESTED, ROWS, Material(known(), known(rows), rows), counting, bar)
    apart = score(scoring, TRIALS, TESTED, ROWS, Material(known(), known(rows)), counting, bar)
    assert asked == [60, 60, 25]
    np.testing.assert_array_equal(shared.scores, apart.scores)


def test_a_cohort_of_its_own_file_is_not_asked_of_the_model():
    def refuse(wanted):
        raise AssertionError(wanted)

    scoring = recipe("norm=s")
    found = score(scoring, TRIALS, TESTED, ROWS, Material(cohort=known(saved=embed)), refuse, bar)
    np.testing.assert_array_equal(found.scores, scored("norm=s").scores)


def test_durations_need_audio():
    unknown = utterances_in_files(TRIALS.utterances, None)
    scoring = recipe("measures=[duration]")
    with pytest.raises(InputError, match="duration needs audio, which saved embeddings come without"):
        score(scoring, TRIALS, unknown, ROWS, Material(), embed, bar)
    score(recipe(), TRIALS, unknown, ROWS, Material(), embed, bar)


def test_averages_over_crops_are_multiplied_as_they_are():
    rows = 0.3 * ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    scoring = recipe("scoring=ten_crops")
    found = score(scoring, TRIALS, TESTED, rows, Material(), embed, bar)
    expected = [rows[a].astype(float) @ rows[b] for a, b in PAIRS.T]
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    network = nn.Linear(2, 2)
    network.embed_dim = 2
    assert scored_network(network, recipe(), 16000) is network
    cropped = scored_network(network, recipe("scoring=full_and_five_crops"), 8000)
    assert isinstance(cropped, CroppedNetwork)
    assert (cropped.crops, cropped.crop_samples, cropped.whole) == (5, 24000, True)


def test_measures_of_quality():
    found = scored("scoring=asnorm_quality", "top_n=4")
    assert found.names == tuple(
        ["score", *(f"{name}_{side}" for name in ("duration", "magnitude", "cohort_mean") for side in ("low", "high"))]
    )
    assert found.table.shape == (200, 7)
    nearest = [np.mean(sorted((cosine(row, speakers_mean(s)) for s in range(12)), reverse=True)[:4]) for row in ROWS]
    for trial in range(0, 200, 13):
        a, b = PAIRS[:, trial]
        assert found.measures["duration_low"][trial] == pytest.approx(np.log(min(SECONDS[a], SECONDS[b])))
        longest = max(np.linalg.norm(ROWS[a]), np.linalg.norm(ROWS[b]))
        assert found.measures["magnitude_high"][trial] == pytest.approx(longest, rel=1e-5)
        assert found.measures["cohort_mean_low"][trial] == pytest.approx(min(nearest[a], nearest[b]), abs=1e-5)


@pytest.mark.parametrize("member", sorted(path.stem for path in (CONF / "scoring").glob("*.yaml")))
def test_every_member_scores(member):
    small = {"lda": ["lda=4"], "lda_plda": ["lda=4"], "asnorm": ["top_n=5"], "asnorm_quality": ["top_n=5"]}
    found = scored(f"scoring={member}", *small.get(member, []), material=DECIDING if member == "pair_mlp" else None)
    assert found.scores.shape == (200,) and np.isfinite(found.scores).all() and np.ptp(found.scores) > 0


@pytest.mark.parametrize(
    "changes, message",
    [
        (["backend=pdla"], r"scoring\.backend=pdla must be one of cosine, plda, pair_mlp; did you mean plda"),
        (["scoring=pair_mlp", "norm=s"], r"scoring\.backend=pair_mlp decides on two embeddings as they are"),
        (["scoring=pair_mlp", "lda=2"], r"scoring\.backend=pair_mlp decides on two embeddings as they are"),
        (["scoring=pair_mlp", "crops=2"], r"scoring\.backend=pair_mlp decides on two embeddings as they are"),
        (["norm=as"], r"scoring\.norm=as must be one of none, z, t, s"),
        (["norm=s", "top_n=1"], r"scoring\.top_n=1 must be at least 2"),
        (["lda=0"], r"scoring\.lda=0 must be at least 1"),
        (["crops=-1"], r"scoring\.crops=-1 must be at least 0"),
        (["crops=5", "crop_seconds=nan"], r"scoring\.crop_seconds=nan must be at least 0\.1"),
        (["whole=false"], r"scoring\.whole=false leaves nothing to score"),
        (["top_n=300"], r"scoring\.top_n=300 is for a normalisation: add scoring\.norm=s"),
        (["cohort=/data"], r"scoring\.cohort=/data is for a normalisation"),
        (["train=/data"], r"scoring\.train=/data: nothing in this recipe is trained"),
        (["crops=5", "backend=plda"], r"scoring\.crops=5 averages cosines"),
        (["crops=5", "subtract_mean=true"], r"scoring\.crops=5 averages cosines"),
        (["measures=[lenght]"], r"scoring\.measures: lenght must be one of duration, magnitude, cohort_mean"),
        (["measures=[cohort_mean]"], r"cohort_mean needs a cohort: add scoring\.norm=s"),
        (["measures=[magnitude]", "crops=5"], r"magnitude is of whole utterances"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        check_scoring(recipe(*changes))


def test_what_is_plain():
    assert is_plain(recipe()) and is_plain(recipe("block_mb=3"))
    for member in (path.stem for path in (CONF / "scoring").glob("*.yaml")):
        assert is_plain(recipe(f"scoring={member}")) == (member == "cosine")


def test_names_of_recipes():
    """One for each member but the default, and for each set of settings."""
    names = {path.stem: recipe_name(recipe(f"scoring={path.stem}")) for path in (CONF / "scoring").glob("*.yaml")}
    assert names.pop("cosine") == "" and names["asnorm"] == "asnorm300"
    assert names["asnorm_quality"] == "asnorm300_measures-duration+magnitude+cohort_mean"
    assert len(set(names.values())) == len(names) and all(names.values())
    assert names["full_and_five_crops"] == "whole_5crops3s" and names["lda_plda"] == "lda100_plda"
    assert recipe_name(recipe("scoring=centred", "wccn=true", "norm=z")) == "centred_wccn_znorm"
    cohort = recipe("scoring=snorm", "cohort=/data/my voices/manifest.parquet", "cohort_size=null")
    assert recipe_name(cohort) == "snorm_cohort-my-voices_cohort_size-None"
    assert recipe_name(recipe("scoring=plda", "train=/data/vox2")) == "plda_train-vox2"


def test_too_small_a_cohort_or_training_set_is_told():
    with pytest.raises(InputError, match=r"scoring\.top_n=13: the cohort has 12 impostors; take fewer"):
        scored("norm=s", "top_n=13")
    with pytest.raises(InputError, match=r"scoring\.lda=7 must be 1 to 6"):
        scored("lda=7")
