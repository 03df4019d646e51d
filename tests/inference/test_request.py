"""Arguments that go together, and what they mean."""

import pytest
from omegaconf import DictConfig

from speakerlab import InputError
from speakerlab.cli.launch import compose
from speakerlab.inference.request import CLASSIFIER, ENROLMENT, TRIALS, check_request, kind_of, name_of


def request(**changes) -> DictConfig:
    """What the command line `key=value ...` means."""
    return compose("evaluate", [f"{key}={value}" for key, value in changes.items()])[0]


CKPT, SAVED = {"ckpt": "b.ckpt"}, {"embeddings": "dir/e.npz"}


@pytest.mark.parametrize(
    "changes, task, kind, name",
    [
        (CKPT, "verification", TRIALS, "development"),
        (CKPT | {"split": "test"}, "verification", TRIALS, "test"),
        (CKPT | {"trials": "/data/veri_test2.txt"}, "identification", TRIALS, "veri_test2"),
        (CKPT, "identification", CLASSIFIER, "identification_test"),
        (CKPT | {"split": "val"}, "identification", CLASSIFIER, "identification_val"),
        (CKPT | {"manifest": "m"}, "verification", CLASSIFIER, "identification_test"),
        (CKPT | {"manifest": "m", "enrolment": "train"}, "verification", ENROLMENT, "enrolment_test"),
        (CKPT | {"enrolment": "val"}, "identification", ENROLMENT, "enrolment_test"),
        (SAVED | {"trials": "x.txt", "trials_root": "r"}, None, TRIALS, "x"),
        (SAVED | {"manifest": "m"}, None, ENROLMENT, "enrolment_test"),
        (SAVED | {"manifest": "m", "enrolment": "test", "split": "val"}, None, ENROLMENT, "enrolment_val"),
        (SAVED | {"enrolment": "f.pkl"}, None, ENROLMENT, "enrolment_e"),
        (CKPT | {"embeddings": "[a.npz,b.npz]"}, "verification", TRIALS, "development"),
        (CKPT | {"embeddings": "{a: a.npz}", "scoring": "pair_mlp"}, "verification", TRIALS, "development_pair_mlp"),
        (CKPT | SAVED | {"split": "val"}, "identification", CLASSIFIER, "identification_val"),
        (CKPT | SAVED | {"manifest": "m", "enrolment": "train"}, "verification", ENROLMENT, "enrolment_test"),
    ],
)
def test_what_is_asked_for(changes, task, kind, name):
    cfg = request(**changes)
    check_request(cfg)
    assert kind_of(cfg, task) == kind and name_of(cfg, kind) == name


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"embeddings": "[a.npz,b.npz]", "trials": "x"}, "several sources are for a fusion of them: add ckpt=FUSION"),
        ({"embeddings": "{a: a.npz}", "trials": "x"}, "several sources are for a fusion of them: add ckpt=FUSION"),
        (CKPT | {"embeddings": "3"}, "embeddings=3 must be a path; with ckpt=FUSION a list of paths"),
        (CKPT | SAVED | {"baselines": True}, "embeddings=dir/e.npz: baselines=true needs audio"),
        (CKPT | SAVED | {"enrolment": "f.npz"}, "enrolment=f.npz: with ckpt= it is a split of the manifest"),
        (CKPT | {"save_corpus": True}, "save_corpus=true needs ckpt=RUN and a place: add save_embeddings=PATH"),
        (SAVED | {"save_corpus": True, "save_embeddings": "s", "trials": "x"}, "save_corpus=true needs ckpt=RUN and"),
        (CKPT | {"scoring": "pair_mlp", "baselines": True}, "baselines=true: the others have no pair MLP"),
        (SAVED | {"scoring": "pair_mlp", "trials": "x"}, "scoring=pair_mlp needs the checkpoint that has the MLP"),
        (CKPT | {"split": "dev"}, "split=dev must be val or test"),
        (CKPT | {"trials": "x.txt", "split": "val"}, "trials=x.txt and split=val both say what to evaluate on"),
        (CKPT | {"trials": "x.txt", "manifest": "m"}, "trials=x.txt and manifest=m both say what to evaluate on"),
        (CKPT | {"trials": "x.txt", "enrolment": "val"}, "trials=x.txt and enrolment=val both say"),
        (CKPT | {"trials_root": "r"}, "trials_root is given without trials: add trials=LIST"),
        (CKPT | {"cache_gigabytes": -1}, "cache_gigabytes=-1.0 must be a number from 0"),
        (CKPT | {"cache_gigabytes": float("nan")}, "cache_gigabytes=nan must be a number from 0"),
        (CKPT | {"neighbours": 0}, "neighbours=0 must be at least 1"),
        (CKPT | {"processes": 0}, "processes=0 must be at least 1"),
        (CKPT | {"enrolment": "f.npz"}, "enrolment=f.npz: with ckpt= it is a split of the manifest: train, val, test"),
        (CKPT | {"enrolment": "test"}, "enrolment=test is the split to recognise too; enrol from another one"),
        (CKPT | {"enrolment": "val", "split": "val"}, "enrolment=val is the split to recognise too"),
        (SAVED, "embeddings=dir/e.npz: say what to evaluate: trials=LIST; or to identify, manifest=MANIFEST or enrol"),
        (SAVED | {"baselines": True, "trials": "x"}, "baselines=true needs audio and a checkpoint"),
        (SAVED | {"manifest": "m", "enrolment": "f.npz"}, "enrolment=f.npz and manifest=m both say whom to enrol"),
        (SAVED | {"enrolment": "train"}, "enrolment=train: a split needs manifest=MANIFEST; or give a file"),
        (SAVED | {"enrolment": "f.npz", "split": "val"}, "split=val needs manifest=MANIFEST"),
    ],
)
def test_what_does_not_go_together(changes, message):
    with pytest.raises(InputError, match=message):
        check_request(request(**changes))


def test_baselines_name_nobody():
    for changes, task in [(CKPT, "identification"), (CKPT | {"enrolment": "val"}, "verification")]:
        with pytest.raises(InputError, match="baselines=true is for trials"):
            kind_of(request(**changes, baselines=True), task)
    assert kind_of(request(**CKPT, baselines=True), "verification") == TRIALS


SCORES = {"scores": "a.csv"}


@pytest.mark.parametrize(
    "changes, message",
    [
        (SCORES | CKPT, "scores=a.csv and ckpt=b.ckpt both say what to evaluate"),
        (SCORES | SAVED, "scores=a.csv and embeddings=dir/e.npz both say"),
        (SCORES | {"manifest": "m"}, "scores=a.csv and manifest=m both say"),
        (SCORES | {"baselines": "true"}, "baselines needs a model: give ckpt in place of scores=a.csv"),
        (SCORES | {"save_calibration": "true"}, "save_calibration needs a model"),
        (SCORES | {"scoring": "asnorm"}, "scoring=asnorm300 makes scores of embeddings, and scores=a.csv are there"),
        (CKPT | {"development_scores": "d.csv"}, "development_scores is given without scores"),
        (CKPT | {"scoring.norm": "as"}, r"scoring\.norm=as must be one of"),
        (CKPT | {"scoring": "ten_crops", "save_embeddings": "e.npz"}, r"of whole utterances: take scoring\.crops=0"),
        (SAVED | {"trials": "x.txt", "scoring": "ten_crops"}, r"scoring\.crops=10 needs audio and a checkpoint"),
        (SAVED | {"trials": "x.txt", "save_calibration": "true"}, "save_calibration=true needs a checkpoint"),
    ],
)
def test_scores_and_recipes_go_with_what_they_need(changes, message):
    with pytest.raises(InputError, match=message):
        check_request(request(**changes))


def test_recipes_are_for_trials():
    check_request(request(**SCORES))
    cfg = request(**CKPT, scoring="asnorm")
    check_request(cfg)
    assert kind_of(cfg, "verification") == TRIALS and name_of(cfg, TRIALS) == "development_asnorm300"
    with pytest.raises(InputError, match="scoring is for trials: .* take scoring=cosine"):
        kind_of(cfg, "identification")
    with pytest.raises(InputError, match="save_calibration=true is for trials: add trials=LIST"):
        kind_of(request(**CKPT, save_calibration="true"), "identification")
