"""What a process leaves for the one that started it."""

import pytest

from speakerlab.cli.outcome import VARIABLE, Outcome, leave_outcome, read_outcome


@pytest.mark.parametrize("outcome", [Outcome(0.25), Outcome([0.25, 3e6]), Outcome(error="no such folder"), Outcome()])
def test_it_is_read_as_it_was_left(tmp_path, monkeypatch, outcome):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "x.json"))
    leave_outcome(outcome)
    assert read_outcome(tmp_path / "x.json") == outcome


def test_only_where_someone_asks_and_only_the_first_process(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    leave_outcome(Outcome(1.0))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "x.json"))
    monkeypatch.setenv("LOCAL_RANK", "1")
    leave_outcome(Outcome(1.0))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"other": 1}'])
def test_nothing_sensible_is_none(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    assert read_outcome(tmp_path / "x.json") is None and read_outcome(tmp_path / "y.json") is None
