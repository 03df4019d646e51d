"""How commands end."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT

from speakerlab.cli import main as module
from speakerlab.cli.main import main

GOES_ON = "goes on where this one stopped"


@pytest.mark.parametrize(
    "function, arguments, told",
    [
        (
            "speakerlab.data.prepare.stages.prepare",
            ["prepare", "musan", "--to", "TO"],
            GOES_ON,
        ),
        ("speakerlab.data.prepare.plan.plan", ["prepare", "musan", "--to", "TO", "--dry-run"], "begins anew"),
        ("speakerlab.cli.shard.table_at", ["shard", "x", "--to", "TO"], GOES_ON),
        ("speakerlab.cli.trials.table_at", ["trials", "make", "x", "--count", "9", "-o", "TO"], "begins anew"),
        ("speakerlab.data.trials.read_trials", ["trials", "convert", "x", "TO"], "begins anew"),
        ("speakerlab.cli.resplit.table_at", ["resplit", "x", "--to", "TO"], "begins anew"),
        ("speakerlab.cli.data.look_at_paths", ["data", "summary", "x"], "begins anew"),
        ("speakerlab.cli.launch.compose", ["data", "listen"], "begins anew"),
    ],
)
def test_an_interrupt_is_told_truly(tmp_path, monkeypatch, capsys, function, arguments, told):
    def interrupted(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(function, interrupted)
    with pytest.raises(SystemExit) as caught:
        main([word.replace("TO", str(tmp_path / "to")) for word in arguments])
    assert caught.value.code == 128 + signal.SIGINT
    assert capsys.readouterr().err == f"\ninterrupted; the same command {told}\n"


def test_a_target_that_is_a_folder_is_named(tmp_path):
    (tmp_path / "list.txt").write_text("1 a b\n0 a c\n")
    with pytest.raises(SystemExit, match=rf"^error: {tmp_path}/to: Is a directory$"):
        (tmp_path / "to").mkdir()
        main(["trials", "convert", str(tmp_path / "list.txt"), str(tmp_path / "to")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.txt", "to"]


def test_help_imports_nothing_that_takes_long():
    code = "import sys; from speakerlab.cli.main import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"numpy", "torch", "omegaconf", "hydra", "yaml", "pyarrow", "multiprocessing", "urllib.request", "rich"}
    assert "speakerlab.cli.demo" in done.stdout.split() and not heavy & set(done.stdout.split())


def test_every_family_is_a_module_with_commands():
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    files = Path(module.__file__).parent.glob("*.py")
    assert set(module.FAMILIES) == {path.stem for path in files if "\ndef add_commands(" in path.read_text()}
