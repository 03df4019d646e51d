"""Each step against what its augmentation does by itself, and the whole against the recipe at once."""

import math

import numpy as np
import pytest
import torch

from speakerlab.augment.chain import Chain, RecordingChain
from speakerlab.augment.noise import AdditiveNoise, add_noise
from speakerlab.augment.recipe import Recipe
from speakerlab.augment.specaugment import SpecAugment
from speakerlab.augment.trace import Witness, trace
from speakerlab.features.fbank import Fbank

SEED = (3, 0, 7, 0)


def read(path: str, first: int, count: int) -> np.ndarray:
    return np.random.default_rng([int(path), first]).standard_normal(count).astype(np.float32)


class Halved:
    """A recording transform that draws: half of the items, at half the level."""

    def process(self, waveform, generator):
        waveform *= 0.5 if generator.random() < 0.5 else 1.0  # in place, as a careless one might
        return waveform


class Faster:
    voices = 2

    def draw(self, generator):
        return 1.1, 1


class OneOf:
    """As an augmentation with alternatives is: draws for the chosen one, in a place that alternatives share."""

    def __init__(self, augmentations: dict):
        self.augmentations = augmentations

    def draw(self, generator, samples):
        name = list(self.augmentations)[generator.integers(len(self.augmentations))]
        return {"shared": self.augmentations[name].draw(generator, samples)}

    def apply(self, x, drawn):
        return add_noise(x, **drawn["shared"])


def noise(low: float, high: float, probability: float = 1.0) -> AdditiveNoise:
    return AdditiveNoise("n", [("1", 50000, 16000), ("2", 60000, 16000)], read, [low, high], probability)


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        Faster(),
        RecordingChain({"halved": Halved(), "again": Halved()}),
        Chain({"noise": noise(3, 9), "music": noise(5, 15), "never": noise(0, 1, probability=0.0)}),
        Chain({"masks": SpecAugment(time_masks=2, max_time_frames=20)}),
    )


def drawn_item(recipe, waveform: np.ndarray) -> tuple[Witness, dict]:
    """As `CropDataset` asks for it."""
    witness = Witness(recipe)
    assert witness.speed(SEED) == recipe.speed(SEED)
    recorded = witness.record(SEED, waveform.copy())
    return witness, {"waveform": recorded, **witness.draw(SEED, len(waveform))}


def batched(drawn: dict) -> dict:
    return {name: {key: torch.from_numpy(value)[None] for key, value in draws.items()} for name, draws in drawn.items()}


@pytest.fixture
def speech() -> np.ndarray:
    return (0.1 * np.random.default_rng(1).standard_normal(16000)).astype(np.float32)


def test_the_end_is_what_the_recipe_gives_at_once(recipe, speech):
    witness, item = drawn_item(recipe, speech)
    features = Fbank(num_mels=24)
    seen = trace(recipe, witness, item, speech, features)
    recorded = recipe.record(SEED, speech.copy())
    after = recipe.waveform.apply(torch.from_numpy(recorded)[None], batched(item["waveform_draws"]))
    planes = features(after, None)[0]
    masked = recipe.spectrum.apply(planes, batched(item["spectrum_draws"]))
    np.testing.assert_array_equal(item["waveform"], recorded)
    np.testing.assert_array_equal(seen.before, speech)
    np.testing.assert_array_equal(seen.after, after[0])
    plain, augmented, last = seen.pictures.values()
    np.testing.assert_array_equal(plain, features(torch.from_numpy(speech)[None], None)[0][0])
    np.testing.assert_array_equal(augmented, planes[0])
    np.testing.assert_array_equal(last, masked[0])


def test_steps_in_order_with_what_was_drawn(recipe, speech):
    witness, item = drawn_item(recipe, speech)
    steps = {step.name: step for step in trace(recipe, witness, item, speech, Fbank(num_mels=24)).steps}
    assert list(steps) == ["speed", "halved", "again", "noise", "music", "never", "masks"]
    stages = ["speed", "recording", "recording", "waveform", "waveform", "waveform", "spectrum"]
    assert [step.stage for step in steps.values()] == stages
    assert steps["speed"].drawn == {"factor": 1.1, "voice": 1}
    assert steps["noise"].drawn == {"snr_db": pytest.approx(float(item["waveform_draws"]["noise"]["snr_db"]))}
    assert not steps["never"].applied and steps["never"].drawn == {}


def test_noise_differs_by_its_snr(recipe, speech):
    witness, item = drawn_item(recipe, speech)
    steps = {step.name: step for step in trace(recipe, witness, item, speech, Fbank(num_mels=24)).steps}
    for name in ("noise", "music"):
        assert steps[name].measured["difference_db"] == pytest.approx(-steps[name].drawn["snr_db"], abs=1e-3)


def test_recording_steps_are_measured_one_by_one(speech):
    found = set()
    for position in range(40):
        witness = Witness(Recipe(recording=RecordingChain({"halved": Halved()})))
        seed = (0, 0, position, 0)
        witness.speed(seed)
        result = witness.record(seed, speech.copy())
        (step,) = witness.steps
        assert step.applied == (not np.array_equal(result, speech))
        found.add(
            (step.applied, round(step.measured["level_db"], 2), round(max(step.measured["difference_db"], -1e9), 2))
        )
    halved = round(20 * math.log10(0.5), 2)
    assert found == {(True, halved, halved), (False, 0.0, -1e9)}


def test_a_second_attempt_forgets_the_first(recipe, speech):
    witness, _ = drawn_item(recipe, speech)
    count = len(witness.steps)
    witness.speed(SEED)
    witness.record(SEED, speech.copy())
    assert len(witness.steps) == count


def test_the_chosen_alternative_is_named(speech):
    """By the levels that only it can have drawn."""
    recipe = Recipe(waveform=Chain({"one_of": OneOf({"loud": noise(0, 1), "low": noise(20, 21)})}))
    names = set()
    for position in range(12):
        seed, witness = (0, 0, position, 0), Witness(recipe)
        witness.speed(seed)
        item = {"waveform": witness.record(seed, speech), **witness.draw(seed, len(speech))}
        (step,) = trace(recipe, witness, item, speech, Fbank(num_mels=24)).steps
        assert step.chosen == ("loud" if step.drawn["snr_db"] < 10 else "low")
        assert step.measured["difference_db"] == pytest.approx(-step.drawn["snr_db"], abs=1e-3)
        drawn = recipe.draw(seed, len(speech))["waveform_draws"]["one_of"]["shared"]
        np.testing.assert_array_equal(item["waveform_draws"]["one_of"]["shared"]["noise"], drawn["noise"])
        names.add(step.chosen)
    assert names == {"loud", "low"}


def test_masks_count_the_values_that_they_change(speech):
    recipe = Recipe(spectrum=Chain({"masks": SpecAugment(1, 20, 1, 8)}))
    witness, item = drawn_item(recipe, speech)
    seen = trace(recipe, witness, item, speech, Fbank(num_mels=24))
    plain, last = seen.pictures.values()
    assert seen.steps[-1].measured["changed"] == np.mean([a != b for a, b in zip(plain.ravel(), last.ravel())]) > 0


def test_no_augmentation_is_one_picture(speech):
    witness, item = drawn_item(Recipe(), speech)
    seen = trace(Recipe(), witness, item, speech, Fbank(num_mels=24))
    assert list(seen.pictures) == ["as recorded"] and seen.steps == []
    np.testing.assert_array_equal(seen.after, speech)


def test_channels_show_the_first(speech):
    witness, item = drawn_item(Recipe(), speech)
    two = lambda x, lengths: (torch.stack([x.reshape(1, 160, 100), -x.reshape(1, 160, 100)], dim=1), None)
    np.testing.assert_array_equal(
        trace(Recipe(), witness, item, speech, two).pictures["as recorded"], speech.reshape(160, 100)
    )


def test_silence_has_no_level():
    recipe = Recipe(waveform=Chain({"noise": noise(3, 9)}))
    silent = np.zeros(16000, np.float32)
    witness, item = drawn_item(recipe, silent)
    (step,) = trace(recipe, witness, item, silent, Fbank(num_mels=24)).steps
    assert not step.applied
