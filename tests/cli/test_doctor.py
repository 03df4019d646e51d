"""The command as typed, on this machine, whole and with something broken."""

import json

import pytest

from speakerlab.cli import doctor
from speakerlab.cli.health import storage
from speakerlab.cli.health.finding import Finding
from speakerlab.cli.main import main


@pytest.fixture(autouse=True)
def own_places(monkeypatch, tmp_path):
    monkeypatch.delenv("SPEAKERLAB_MODEL", raising=False)
    monkeypatch.delenv("SPEAKERLAB_GALLERY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("SPEAKERLAB_CACHE", str(tmp_path / "cache"))


def status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", *arguments])
    return caught.value.code


@pytest.mark.slow
def test_this_machine(capsys, monkeypatch, tmp_path):
    assert status("--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] is True
    by_name = {one["name"]: one for one in found["findings"]}
    assert by_name["torch"]["text"].startswith("2.11") and by_name[".m4a"]["text"] == "decoded (av)"
    assert {one["group"] for one in found["findings"]} == {
        "libraries",
        "extras",
        "devices",
        "audio",
        "storage",
        "use",
    }
    monkeypatch.setenv("SPEAKERLAB_MODEL", str(tmp_path / "gone.ckpt"))
    assert status() == 1
    out = capsys.readouterr().out
    assert f"! SPEAKERLAB_MODEL      {tmp_path}/gone.ckpt: there is no such file\n" in out
    assert "-> set it anew, or unset it" in out and "1 broken (!)" in out.splitlines()[-1]


def test_a_part_that_can_not_be_looked_at_is_a_finding(monkeypatch):
    def breaks():
        raise OSError("libcudart.so.12: cannot open shared object file\nmore")

    (found,) = doctor._of("devices", breaks)
    assert (found.state, found.text) == (
        "broken",
        "can't be looked at: OSError: libcudart.so.12: cannot open shared object file",
    )


def test_the_report():
    found = [
        Finding("libraries", "torch", "good", "2.11.0"),
        Finding("libraries", "av", "broken", "is not installed", "pip install 'av>=14'"),
        Finding("devices", "GPU", "doubtful", "there is one, but torch is a build for CPUs", "install torch for CUDA"),
    ]
    assert doctor.lines(found) == [
        "libraries",
        "  torch  2.11.0",
        "! av     is not installed",
        "         -> pip install 'av>=14'",
        "",
        "devices",
        "? GPU    there is one, but torch is a build for CPUs",
        "         -> install torch for CUDA",
        "",
        "1 broken (!), 1 doubtful (?)",
    ]
    assert doctor.lines(found[:1])[-1] == "all is well"


def test_nothing_is_written_by_looking(tmp_path):
    storage.look()
    assert not list(tmp_path.iterdir())
