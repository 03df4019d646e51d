import logging

import pytest

from speakerlab.cli.main import main
from tests.training.test_finding import TINY


@pytest.fixture(autouse=True)
def process_as_before(monkeypatch):
    """The command sets up the program's log and the CPU as scripts do, each in a process of its own."""
    monkeypatch.setattr("speakerlab.training.hardware.prepare_cpu", lambda threads, keep_memory: None)
    logger = logging.getLogger("speakerlab")
    kept = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = kept


def test_the_rate_is_printed_and_drawn(tmp_path, capsys):
    figure = tmp_path / "a" / "range.png"
    main(["find", "rate", *TINY, "--steps", "20", "--to", "0.1", "--figure", str(figure)])
    printed = capsys.readouterr().out
    assert "steepest at optimizer.lr=" in printed and f"figure   {figure}" in printed
    assert figure.read_bytes().startswith(b"\x89PNG") and figure.with_suffix(".svg").is_file()


def test_each_batch_size_is_printed(capsys):
    main(["find", "batch_size", *TINY, "--most", "8"])
    printed = capsys.readouterr().out
    assert "sampler.batch_size=4: " in printed and "sampler.batch_size=8: " in printed
    assert "largest that was tried and fits 8" in printed


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["rate", "--from", "1"], "--from 1 --to 1: rates must be positive and rise"),
        (["rate", "--steps", "3"], "--steps 3 must be at least 20"),
        (["rate", "model.encoder.chanels=3"], "did you mean model.encoder.channels?"),
        (["batch_size", "sampler=hard_speakers"], "choose another sampler"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main(["find", *arguments])
    assert message in str(stopped.value) and "\n" not in str(stopped.value)
