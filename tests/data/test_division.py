"""What `data.split` makes of a manifest, and the combinations that it refuses."""

import pyarrow as pa
import pytest

from speakerlab import InputError
from speakerlab.data.division import Division
from speakerlab.data.manifest import as_manifest, file_of, speakers_of
from speakerlab.data.splits import with_split

SHARES = {"train": 0.5, "val": 0.25, "test": 0.25}


def manifest(speakers: int = 12, sessions: int = 4, split: str = "dev") -> pa.Table:
    rows = [(f"s{i:02d}", f"x{j}", k) for i in range(speakers) for j in range(sessions) for k in range(2)]
    names = [f"{speaker}/{session}/{k}.wav" for speaker, session, k in rows]
    size = len(rows)
    columns = {"utterance": names, "speaker": [row[0] for row in rows], "session": [row[1] for row in rows]}
    columns |= {"root": ["/data"] * size, "path": names, "first_sample": [0] * size, "samples": [8000] * size}
    columns |= {"sample_rate": [8000] * size, "split": [split] * size, "gender": [""] * size}
    return as_manifest(pa.table({name: pa.array(cells) for name, cells in columns.items()}), "test")


def division(**settings) -> Division:
    defaults = {"task": "verification", "n_speakers": None, "split": None, "by": "session", "trials": 20, "seed": 1}
    return Division(**(defaults | settings))


def names(table: pa.Table) -> set[str]:
    return set(table["utterance"].to_pylist())


@pytest.mark.parametrize("by", ["utterance", "session"])
def test_a_closed_set(by):
    table = manifest()
    corpus = division(task="identification", split=SHARES, by=by, n_speakers=9).corpus(table, [])
    assert corpus.trials is None and corpus.development == []
    parts = [corpus.train, corpus.validation, corpus.test]
    assert [len(part) for part in parts] == [36, 18, 18]
    assert all(speakers_of(part) == [f"s{i:02d}" for i in range(9)] for part in parts)
    assert len(set.union(*map(names, parts))) == 72
    assert corpus.notes == ("identification of 9 speakers; utterances: train 36, val 18, test 18",)


def test_missed_shares_are_noted():
    shares = {"train": 0.9, "val": 0.1}
    notes = division(task="identification", split=shares).corpus(manifest(sessions=2), []).notes
    assert notes[1].startswith("warning: train has 50.0 % in place of 90 %, val has 50.0 % in place of 10 %")


def test_without_a_test_part():
    corpus = division(task="identification", split={"train": 0.5, "val": 0.5}).corpus(manifest(), [])
    assert corpus.test is None and len(corpus.validation) == 48


def test_by_speaker_trials_are_drawn_over_val_and_over_test():
    table = manifest()
    corpus = division(split=SHARES, by="speaker").corpus(table, [])
    assert corpus.validation is None and corpus.test is None
    groups = [set(speakers_of(corpus.train))]
    for trials, files in ((corpus.trials, corpus.development), (corpus.test_trials, corpus.test_files)):
        assert len(trials) == 20 and trials.labels.sum() == 10
        groups.append({name.split("/")[0] for name in trials.utterances})
        rows = [table["utterance"].to_pylist().index(name) for name in trials.utterances]
        assert files == [file_of(table, row) for row in rows]
    assert [len(group) for group in groups] == [6, 3, 3] and len(set.union(*groups)) == 12


def own(table: pa.Table, part_of_row) -> pa.Table:
    return with_split(table, pa.array([part_of_row(row) for row in table.to_pylist()]))


def test_the_manifests_own_split():
    closed = own(manifest(), lambda row: {"x0": "val", "x1": "test"}.get(row["session"], "train"))
    corpus = division(task="identification", n_speakers=5).corpus(closed, [])
    assert [len(part) for part in (corpus.train, corpus.validation, corpus.test)] == [20, 10, 10]
    apart = own(manifest(), lambda row: {"s00": "val", "s01": "val"}.get(row["speaker"], "train"))
    corpus = division(n_speakers=4).corpus(apart, [])
    assert speakers_of(corpus.train) == ["s02", "s03", "s04", "s05"] and corpus.test_trials is None
    assert {name.split("/")[0] for name in corpus.trials.utterances} == {"s00", "s01"}
    for table, task, message in [
        (
            closed,
            "verification",
            r"every part: add 'data\.split={train: \.8, val: \.2}' data\.split_by=speaker, or task=id",
        ),
        (apart, "identification", "a split by speaker leaves none to recognise"),
    ]:
        with pytest.raises(InputError, match=message):
            division(task=task).corpus(table, [])


def test_a_list(tmp_path):
    lines = [f"{1 + (int(name[5]) > 1) + (int(name[5]) > 2)} {name}" for name in sorted(names(manifest()))]
    (tmp_path / "iden_split.txt").write_text("\n".join([*lines, "1 gone/x/1.wav"]) + "\n")
    for split, folders in (("iden_split.txt", [tmp_path]), (str(tmp_path / "iden_split.txt"), [])):
        asked = division(task="identification", split=split, n_speakers=5)
        corpus = asked.corpus(manifest(), folders)
        assert [len(part) for part in (corpus.train, corpus.validation, corpus.test)] == [20, 10, 10]
        assert corpus.notes[1] == f"1 lines of {tmp_path / 'iden_split.txt'} name no utterance here"
    with pytest.raises(InputError, match=f"data.split=gone.txt: there is no such file, nor one in {tmp_path}"):
        division(task="identification", split="gone.txt").corpus(manifest(), [tmp_path])


def test_nothing_divides():
    assert division().corpus(manifest(), []) is None
    assert len(division(n_speakers=3).limited(manifest())) == 24
    with pytest.raises(InputError, match="task=identification .* add 'data.split="):
        division(task="identification").corpus(manifest(), [])


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"split": [0.6, 0.4], "by": "speaker"},
            r"data.split=\[0.6, 0.4\] must be shares such as {train: .8, val: .2}",
        ),
        ({"task": "diarization"}, "data.task=diarization must be verification or identification"),
        ({"split": SHARES}, "judged on speakers that are not trained on"),
        ({"split": SHARES, "by": "utterance"}, "judged on speakers that are not trained on"),
        ({"split": "iden_split.txt"}, "judged on speakers that are not trained on"),
        ({"split": SHARES, "by": "speaker", "task": "identification"}, "a split by speaker leaves none to recognise"),
        ({"split": {"train": 0.5, "test": 0.5}, "by": "speaker"}, "data.split must name val"),
        ({"split": {"train": 0.5, "val": 0.6}, "by": "speaker"}, "the shares add up to 1.1"),
    ],
)
def test_wrong_combinations_stop_before_any_data(settings, message):
    with pytest.raises(InputError, match=message) as caught:
        division(**settings)
    assert "\n" not in str(caught.value)
