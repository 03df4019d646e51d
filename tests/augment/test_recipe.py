import numpy as np

from speakerlab.augment.chain import Chain, RecordingChain
from speakerlab.augment.gain import Gain
from speakerlab.augment.mixup import Mixup
from speakerlab.augment.recipe import Recipe
from speakerlab.augment.speed import SpeedPerturbation

SEED = (1, 2, 3, 0)


def test_classes_stand_voice_by_voice_as_items_are_labelled():
    recipe = Recipe(SpeedPerturbation([0.9, 1.0, 1.1]))
    names = recipe.class_names(["ann", "bob"])
    assert names == ["ann", "bob", "ann x0.9", "bob x0.9", "ann x1.1", "bob x1.1"]
    voices = set()
    for position in range(30):
        factor, voice = recipe.speed((1, 0, position, 0))
        voices.add(voice)
        assert names[1 + voice * 2] == ("bob" if factor == 1 else f"bob x{factor:g}")
    assert voices == {0, 1, 2}


def test_whether_it_changes_anything():
    loud = {"gain": Gain([-3.0, 3.0])}
    assert not Recipe().changes_anything
    for some in (
        Recipe(SpeedPerturbation([0.9, 1.0])),
        Recipe(recording=RecordingChain({"codec": object()})),
        Recipe(waveform=Chain(loud)),
        Recipe(spectrum=Chain(loud)),
        Recipe(mixup=Mixup(0.5)),
    ):
        assert some.changes_anything


def test_an_empty_recipe_changes_nothing():
    recipe = Recipe()
    waveform = np.ones(5, np.float32)
    assert recipe.speed(SEED) == (1.0, 0) and recipe.class_names(["a"]) == ["a"]
    assert recipe.record(SEED, waveform) is waveform
    assert recipe.draw(SEED, 5) == {"waveform_draws": {}, "spectrum_draws": {}}


def test_mixup_draws_apart_from_the_others_and_by_the_seed_alone():
    alone = Recipe(mixup=Mixup(1.0))
    joined = Recipe(SpeedPerturbation(), waveform=Chain({"gain": Gain([-1, 1])}), mixup=Mixup(1.0))
    weights = [float(alone.draw((1, 0, position, 0), 5)["mixup_weight"]) for position in range(10)]
    assert weights == [float(joined.draw((1, 0, position, 0), 5)["mixup_weight"]) for position in range(10)]
    assert len(set(weights)) == 10
