"""Folders as `speakerlab prepare` leaves them, in VoxCeleb's layout, with lists of the official length."""

import numpy as np
import pyarrow as pa
import pytest

from speakerlab import InputError
from speakerlab.data.corpora.prepared import PreparedCorpus
from speakerlab.data.manifest import speakers_of, write_manifest

DEV1, TEST1 = [f"id1{i:04d}" for i in range(1, 7)], ["id10270", "id10271", "id10309"]
DEV2 = [f"id0{i:04d}" for i in range(12, 16)]


def write_prepared(root, splits: dict[str, list[str]]) -> None:
    """3 videos of 2 utterances for each speaker; the audio is not read and not there."""
    rows = [
        (part, speaker, f"video{video}", f"{speaker}/video{video}/{i:05d}.wav")
        for part, speakers in splits.items()
        for speaker in speakers
        for video in range(3)
        for i in range(1, 3)
    ]
    size = len(rows)
    part, speaker, session, utterance = map(list, zip(*rows, strict=True))
    columns = {"utterance": utterance, "speaker": speaker, "session": session, "root": [str(root)] * size}
    columns |= {"path": [f"wav/{name[:-4]}.flac" for name in utterance], "split": part, "gender": ["m"] * size}
    columns |= {"first_sample": [0] * size, "samples": [64000] * size, "sample_rate": [16000] * size}
    columns["nationality"] = ["UK"] * size
    write_manifest(pa.table({name: pa.array(cells) for name, cells in columns.items()}), root / "manifest.parquet")


def write_list(path, speakers: list[str], count: int) -> None:
    """`count` trials over these speakers, as many as the official list of this name has."""
    names = [f"{speaker}/video{video}/0000{i}.wav" for speaker in speakers for video in range(3) for i in (1, 2)]
    pairs = np.random.default_rng(0).integers(0, len(names), (count, 2))
    lines = [f"{int(names[a][:7] == names[b][:7])} {names[a]} {names[b]}\n" for a, b in pairs]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(lines))


@pytest.fixture(scope="module")
def voxceleb(tmp_path_factory):
    """Folders `1` and `2`."""
    root = tmp_path_factory.mktemp("voxceleb")
    write_prepared(root / "1", {"dev": DEV1, "test": TEST1})
    write_prepared(root / "2", {"dev": DEV2, "test": ["id00017"]})
    write_list(root / "1" / "trials" / "veri_test2.txt", TEST1, 37611)
    write_list(root / "1" / "trials" / "list_test_hard2.txt", [*DEV1, *TEST1], 550894)
    lines = [f"{video + 1} {speaker}/video{video}/00001.wav\n" for speaker in (*DEV1, *TEST1) for video in range(3)]
    (root / "1" / "iden_split.txt").write_text("".join(lines))
    return root


@pytest.fixture
def corpus(compose):
    """Loads the corpus that a command line describes, through the config group."""

    def load(*overrides: str):
        from speakerlab.build import build_corpus
        from speakerlab.config import check

        cfg, choices = compose(*overrides)
        return build_corpus(check(cfg, "train", choices))

    return load


def test_voxceleb1(corpus, voxceleb):
    loaded = corpus("data=voxceleb1", f"data.root={voxceleb / '1'}")
    assert speakers_of(loaded.train) == DEV1 and len(loaded.train) == 36
    assert len(loaded.trials) == 37611 and {name[:7] for name in loaded.trials.utterances} == set(TEST1)
    suffix = [str(file.relative_to(voxceleb / "1" / "wav")) for file in loaded.development]
    assert suffix == [name.replace(".wav", ".flac") for name in loaded.trials.utterances]
    assert loaded.notes == ("training on 36 utterances of 6 speakers, 0.0 h", "37,611 development trials")
    assert speakers_of(corpus("data=voxceleb1", f"data.root={voxceleb / '1'}", "data.n_speakers=2").train) == DEV1[:2]


def test_voxceleb2_is_judged_on_voxceleb1(corpus, voxceleb):
    loaded = corpus("data=voxceleb2", f"data.root={voxceleb / '2'}", f"data.trials_root={voxceleb / '1'}")
    assert speakers_of(loaded.train) == DEV2 and len(loaded.trials) == 37611
    hard = corpus(
        "data=voxceleb2",
        f"data.root={voxceleb / '2'}",
        f"data.trials_root={voxceleb / '1'}",
        "data.trials=vox1_h_cleaned",
    )
    assert len(hard.trials) == 550894
    with pytest.raises(InputError, match=r"trials=vox1_o_cleaned: .* as trials_root the folder that holds it"):
        corpus("data=voxceleb2", f"data.root={voxceleb / '2'}")


def test_both_devs(corpus, voxceleb):
    loaded = corpus("data=voxceleb12", f"data.root=[{voxceleb / '1'},{voxceleb / '2'}]")
    assert speakers_of(loaded.train) == sorted([*DEV1, *DEV2]) and len(loaded.trials) == 37611


def test_trials_over_training_speakers_are_refused_unless_forced(corpus, voxceleb):
    given = ["data=voxceleb1", f"data.root={voxceleb / '1'}", "data.trials=list_test_hard2"]
    with pytest.raises(InputError, match=r"list_test_hard2\.txt: 6 of its speakers are trained on, such as id10001;"):
        corpus(*given)
    forced = corpus(*given, "data.allow_overlap=true")
    assert len(forced.trials) == 550894 and forced.notes[-1].endswith("the EER flatters the model")


def test_names_of_a_plain_folder_tell_too(corpus, voxceleb, tmp_path):
    """Of audio without a manifest, VoxCeleb1's own names are known."""
    for name in ("id10001/x/1.wav", "id19999/x/1.wav"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("0 id10001/x/1.wav id19999/x/1.wav\n1 id19999/x/1.wav id19999/x/1.wav\n")
    with pytest.raises(InputError, match="1 of its speakers are trained on, such as id10001"):
        corpus("data=voxceleb1", f"data.root={voxceleb / '1'}", "data.trials=list.txt", f"data.trials_root={tmp_path}")


def test_identification(corpus, voxceleb):
    loaded = corpus("task=identification", "data=voxceleb1", f"data.root={voxceleb / '1'}", "data.split=iden_split.txt")
    parts = (loaded.train, loaded.validation, loaded.test)
    assert [len(part) for part in parts] == [9, 9, 9]
    assert all(speakers_of(part) == [*DEV1, *TEST1] for part in parts)
    assert {name[8:14] for name in loaded.validation["utterance"].to_pylist()} == {"video1"}
    drawn = corpus(
        "task=identification",
        "data=voxceleb1",
        f"data.root={voxceleb / '1'}",
        "data.split={train: .6, val: .2, test: .2}",
        "data.n_speakers=5",
    )
    assert [len(part) for part in (drawn.train, drawn.validation, drawn.test)] == [10, 10, 10]
    with pytest.raises(InputError, match="task=identification tells training speakers apart .* add 'data.split="):
        corpus("task=identification", "data=voxceleb1", f"data.root={voxceleb / '1'}")


def test_any_manifest(corpus, voxceleb):
    """Without a list, speakers are held out; a manifest may be named itself."""
    given = ["data=manifest", f"data.root={voxceleb / '1' / 'manifest.parquet'}", "data.heldout_speakers=3"]
    loaded = corpus(*given, "data.heldout_trials=40")
    held_out = {name[:7] for name in loaded.trials.utterances}
    assert len(loaded.trials) == 40 and len(held_out) == 3
    assert set(speakers_of(loaded.train)) == {*DEV1, *TEST1} - held_out


def test_what_is_not_there(corpus, voxceleb, tmp_path):
    with pytest.raises(InputError, match=f"data.root={tmp_path}: holds no manifest.parquet; make it with"):
        corpus("data=voxceleb1", f"data.root={tmp_path}")
    (tmp_path / ".prepare").mkdir()
    with pytest.raises(InputError, match=f"data.root={tmp_path}: is not prepared to its end; run the same"):
        corpus("data=voxceleb1", f"data.root={tmp_path}")
    with pytest.raises(InputError, match="data.root=/nowhere: no such manifest or folder"):
        corpus("data=voxceleb1", "data.root=/nowhere")
    with pytest.raises(InputError, match=r"trials=vox1_e_cleaned: .* as vox1_e_cleaned, .*list_test_all2\.txt"):
        corpus("data=voxceleb1", f"data.root={voxceleb / '1'}", "data.trials=vox1_e_cleaned")
    with pytest.raises(InputError, match=r"train_on=\['dev', 'tst'\]: .* of split 'tst'; it has 'dev', 'test'"):
        corpus("data=voxceleb1", f"data.root={voxceleb / '1'}", "data.train_on=[dev,tst]")
    with pytest.raises(InputError, match="speaker id00012 is in .* and in"):
        corpus("data=voxceleb12", f"data.root=[{voxceleb / '2'},{voxceleb / '2'}]")


def test_every_member_of_the_group_names_it():
    from speakerlab.shipped import CONF

    for name in ("voxceleb1", "voxceleb2", "voxceleb12", "manifest"):
        text = (CONF / "data" / f"{name}.yaml").read_text()
        assert PreparedCorpus.__name__ in text or "- voxceleb1" in text
