"""Requirements that hold and that do not, and libraries that end the process which imports them."""

from importlib import metadata

import numpy as np
import pytest

from speakerlab.cli.health import libraries


@pytest.mark.parametrize(
    "requirement, state, text, mend",
    [
        ("numpy>=2.0", "good", np.__version__, ""),
        ("numpy>=99", "doubtful", f"{np.__version__}, but >=99 is needed", "pip install 'numpy>=99'"),
        ("no-such-package-at-all<3", "broken", "is not installed", "pip install 'no-such-package-at-all<3'"),
    ],
)
def test_a_requirement(requirement, state, text, mend):
    (found,) = libraries.judged("libraries", [requirement, "onnx>=99; extra == 'onnx'", "nothing; python_version<'3'"])
    assert found[2:] == (state, text, mend)


def test_imports_in_a_process_of_their_own(tmp_path, monkeypatch):
    (tmp_path / "broken_library.py").write_text("raise ImportError('libX.so: no such file\\nmore')")
    (tmp_path / "foreign_library.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert libraries.imported(["json", "csv"]) == []
    first, second = libraries.imported(["json", "broken_library", "foreign_library", "csv"])
    assert (first.name, first.state, first.text) == (
        "broken_library",
        "broken",
        "can't be imported: ImportError: libX.so: no such file",
    )
    assert (second.name, second.text) == ("foreign_library", "importing it ends the program (SIGILL)")


def test_imports_without_end(tmp_path, monkeypatch):
    (tmp_path / "slow_library.py").write_text("import time\ntime.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(libraries, "IMPORT_SECONDS", 0.5)
    (found,) = libraries.imported(["slow_library"])
    assert (found.state, found.text) == ("doubtful", "importing slow_library took over 0.5 s")


def test_what_is_compiled_is_what_is_declared():
    """Import names, but for one, are the packages' names."""
    needed = {one.name for one in libraries.judged("libraries", metadata.requires("speakerlab"))}
    assert {"scikit-learn" if name == "sklearn" else name for name in libraries.COMPILED} <= needed


def test_extras():
    needed = [
        "numpy>=2",
        "pytest>=1; extra == 'tests'",
        "no-such-package; extra == 'tests'",
        "speakerlab[x]; extra=='tests'",
    ]
    found = {one.name: one for one in libraries.extras(needed)}
    assert found["tests"].text == "not installed: no-such-package"
    assert found["tests"].mend == "if you want it: pip install 'speakerlab[tests]'"
    assert {one.state for one in found.values()} == {"good"}
    found = {one.name: one for one in libraries.extras(needed[:2])}
    assert found["tests"].text == f"pytest {pytest.__version__}"
