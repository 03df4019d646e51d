"""Examples are the items of the training loader, bit for bit."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import OmegaConf

from speakerlab import InputError
from speakerlab.augment.chain import RecordingChain
from speakerlab.augment.recipe import Recipe
from speakerlab.build import build_corpus, build_network
from speakerlab.config import check
from speakerlab.data.corpus import Corpus
from speakerlab.data.scan import scan_folder
from speakerlab.data.shards.contents import shard_table
from speakerlab.data.shards.index import Shards
from speakerlab.data.shards.packing import Packing, pack
from speakerlab.training.assembly import build_datamodule
from speakerlab.training.examples import each_alone, example, first_places, shown_features


@pytest.fixture
def noises(tmp_path):
    generator = np.random.default_rng(2)
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * generator.standard_normal(20000), 16000)
    return [
        "augment=noise",
        f"augment.noise_dir={tmp_path}",
        f"augment.music_dir={tmp_path}",
        f"augment.rir_dir={tmp_path}",
    ]


@pytest.fixture
def cfg(compose, folders, tiny, noises, tmp_path):
    composed, choices = compose(*folders.overrides(), *tiny, *noises, f"cache_dir={tmp_path}")
    return check(composed, "train", choices)


@pytest.fixture
def data(cfg):
    return build_datamodule(cfg, build_corpus(cfg))


@pytest.fixture
def packed(folders, tmp_path):
    """What trains from shards of the same files, and the ids of the packed utterances by their numbers."""
    scan = scan_folder(folders.train, tmp_path / "scan", min_seconds=0.1, stereo="mix", max_bad_share=0.0)
    packing = Packing("flac", shard_items=7, shard_bytes=10**9, seed=1, max_bad_share=0.0, workers=1)
    index = pack(scan.manifest, tmp_path / "shards", packing).index
    return Corpus(Shards(index, 5), None, []), shard_table(index, 1)[0]["utterance"].to_pylist()


def test_the_features_that_are_drawn_are_those_with_a_spectrum(compose):
    with torch.device("meta"):
        fusion, single = (build_network(compose(f"model={model}")[0]) for model in ("fusion", "sincnet"))
    assert shown_features(fusion) is fusion.branches["mel_cnn"].features  # though it is the second
    assert shown_features(single) is single.features


@pytest.mark.parametrize("epoch", [0, 3])
@pytest.mark.parametrize("source", ["files", "shards"])
def test_examples_are_what_training_meets(request, cfg, source, epoch):
    corpus, names = request.getfixturevalue("packed") if source == "shards" else (build_corpus(cfg), None)
    data = build_datamodule(cfg, corpus)
    names = names or corpus.train["utterance"].to_pylist()
    features = build_network(cfg).features
    places = first_places(data, 6, epoch)
    data.trainer = SimpleNamespace(global_rank=0, world_size=1)
    loader = data.train_dataloader()
    loader.batch_sampler.set_epoch(epoch)
    met = 0
    for batch in list(loader)[:2]:  # of 4 items each
        waveform = data.augment.waveform.apply(batch["waveform"], batch["waveform_draws"])
        seen = data.augment.spectrum.apply(features(waveform, None)[0], batch["spectrum_draws"])
        for row in range(min(len(waveform), len(places) - met)):
            item = example(data, features, places[met])
            torch.testing.assert_close(torch.from_numpy(item.trace.after), waveform[row], rtol=0, atol=1e-6)
            last = list(item.trace.pictures.values())[-1]
            torch.testing.assert_close(torch.from_numpy(last), seen[row], rtol=0, atol=1e-3)
            assert item.utterance == names[int(batch["utterance"][row])]
            assert item.speaker == data.speakers[int(batch["speaker"][row])]
            met += 1
    assert met == 6


def test_shards_refuse_another_sampler_before_it_asks_for_speakers(cfg, packed):
    cfg.sampler = {"_target_": "speakerlab.data.samplers.speakers_x_utterances.SpeakersXUtterancesSampler"}
    with pytest.raises(InputError, match="can't change: use sampler=random, and a loss that does not compare"):
        build_datamodule(cfg, packed[0])


def test_before_is_the_crop_that_was_read(data, cfg, folders):
    """Found again, sample by sample, in the utterance's own file."""
    item = example(data, build_network(cfg).features, first_places(data, 1, 0)[0])
    whole, _ = soundfile.read(folders.train / item.utterance, dtype="float32")
    windows = np.lib.stride_tricks.sliding_window_view(whole, len(item.trace.before))
    assert (windows == item.trace.before).all(axis=1).any()


class Halved:
    def process(self, waveform, generator):
        return 0.5 * waveform


def test_before_knows_nothing_of_the_recording_chain(data, cfg):
    features, place = build_network(cfg).features, first_places(data, 1, 0)[0]
    data.augment = Recipe()
    plain = example(data, features, place).trace
    data.augment = Recipe(recording=RecordingChain({"halved": Halved()}))
    halved = example(data, features, place).trace
    np.testing.assert_array_equal(halved.before, plain.before)
    np.testing.assert_array_equal(halved.after, 0.5 * plain.before)


def test_each_augmentation_alone_is_certain(data, cfg):
    features, alone = build_network(cfg).features, dict(each_alone(cfg))
    assert list(alone) == ["reverb", "noise", "music", "specaugment"]
    places = first_places(data, 3, 0)
    crops = [example(data, features, place).trace.before for place in places]
    for name, config in alone.items():
        single = build_datamodule(config, data.corpus)
        for place, crop in zip(places, crops):
            trace = example(single, features, place).trace
            (step,) = trace.steps
            assert step.name == name and (step.applied or name == "specaugment")  # masks may have width 0
            np.testing.assert_array_equal(trace.before, crop)


def test_alternatives_and_speeds_count_singly():
    """Of an augmentation that chooses among others, and of speed perturbation, by their configuration alone."""
    augment = OmegaConf.create(
        {
            "noise_dir": "/n",
            "speed": {"_target_": "S", "factors": [0.9, 1.0, 1.1], "new_speakers": True},
            "recording": {"codec": {"_target_": "C", "probability": 0.2}, "off": None},
            "waveform": {
                "background": {
                    "_target_": "Choice",
                    "probability": 0.6,
                    "weights": {"a": 2.0},
                    "augmentations": {"a": {"_target_": "A"}, "b": {"_target_": "B", "probability": 0.5}, "c": None},
                }
            },
            "spectrum": {},
            "mixup": {"_target_": "M", "probability": 0.5},
        }
    )
    cfg = OmegaConf.create({"seed": 1, "augment": augment})
    found = {name: OmegaConf.to_container(alone) for name, alone in each_alone(cfg)}
    assert all(alone["seed"] == 1 for alone in found.values())
    found = {name: alone["augment"] for name, alone in found.items()}
    nothing = {"noise_dir": "/n", "speed": None, "recording": {}, "waveform": {}, "spectrum": {}, "mixup": None}
    speed = {"_target_": "S", "new_speakers": False}
    choice = {"_target_": "Choice", "probability": 1.0, "weights": None}
    assert found == {
        "speed 0.9": nothing | {"speed": speed | {"factors": [0.9]}},
        "speed 1.1": nothing | {"speed": speed | {"factors": [1.1]}},
        "codec": nothing | {"recording": {"codec": {"_target_": "C", "probability": 1.0}}},
        "a": nothing | {"waveform": {"background": choice | {"augmentations": {"a": {"_target_": "A"}}}}},
        "b": nothing
        | {"waveform": {"background": choice | {"augmentations": {"b": {"_target_": "B", "probability": 1.0}}}}},
    }
