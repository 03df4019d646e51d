"""A text log that can be read alone."""

import logging
import sys
import warnings

import numpy
import pytest

import speakerlab
from speakerlab.record import environment, log, text_log


def test_a_log_tells_all(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG, logger="speakerlab")
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "trials=my list.txt"])
    told = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: told.append(str(message)))  # pytest has its own
    handlers, shown = list(log.handlers), warnings.showwarning
    path = tmp_path / "new" / "x.log"
    with text_log(path):
        log.debug("42 trials")
        warnings.showwarning(RuntimeWarning("numbers are odd"), RuntimeWarning, "x.py", 3)
    assert told == ["numbers are odd"]
    log.debug("after")
    with pytest.raises(ZeroDivisionError), text_log(path):
        _ = 1 / 0
    lines = [line[24:] for line in path.read_text().splitlines()]
    assert lines[0] == "python evaluate.py 'trials=my list.txt'"
    assert lines[1].startswith(f"speakerlab {speakerlab.__version__}") and f"numpy {numpy.__version__}" in lines[1]
    assert "CPUs, in " in lines[2]
    assert lines[3:5] == ["42 trials", "warning: RuntimeWarning: numbers are odd"]
    assert lines[5].startswith("finished after ") and lines[6] == lines[0]
    assert lines[-1].startswith("ended after ") and lines[-1].endswith("division by zero")
    assert list(log.handlers) == handlers and warnings.showwarning is shown


def test_the_environment():
    facts = environment()
    assert facts["libraries"]["numpy"] == numpy.__version__
    assert facts["git"] is None or len(facts["git"]["commit"]) == 40
