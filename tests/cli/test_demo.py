"""The command as typed, until it is ended."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx_files
import pytest
import requests

from speakerlab.cli.main import main
from speakerlab.inference.page.uploads import PREFIX

pytest.importorskip("gradio")


def refusal(*arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["demo", *arguments])
    return str(caught.value.code)


def test_mistakes_are_one_line(monkeypatch, tmp_path):
    monkeypatch.delenv("SPEAKERLAB_MODEL", raising=False)
    monkeypatch.setenv("SPEAKERLAB_GALLERY", str(tmp_path / "gallery.sqlite"))
    monkeypatch.chdir(tmp_path)
    assert refusal("a.ckpt", "--model", "b.ckpt") == "error: a.ckpt and --model b.ckpt: name one model"
    assert refusal("ckpt=a.ckpt", "--port", "0") == "error: --port 0 must lie in 1 to 65535"
    assert refusal("ckpt=a.ckpt", "--seconds", "0") == "error: seconds=0.0 must lie in 1 to 300"
    assert "which model?" in refusal()
    assert "a.ckpt" in refusal("ckpt=a.ckpt") and "ckpt=ckpt=" not in refusal("ckpt=a.ckpt")


@pytest.mark.slow
@pytest.mark.parametrize(
    "end, options", [(signal.SIGINT, []), (signal.SIGTERM, ["--json"]), (signal.SIGHUP, [])], ids=str
)
def test_an_onnx_model_is_served_until_the_end(tmp_path, end, options):
    model = onnx_files.write_model(tmp_path / "model.onnx")
    (tmp_path / "temporary").mkdir()
    variables = {"SPEAKERLAB_GALLERY": str(tmp_path / "gallery.sqlite"), "TMPDIR": str(tmp_path / "temporary")}
    with subprocess.Popen(
        [sys.executable, "-m", "speakerlab.cli.main", "demo", f"ckpt={model}", *options],
        env=os.environ | variables,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            line = server.stdout.readline()
            if options:
                found = json.loads(line)
                address = found["address"]
                assert found["model"]["name"] == "by hand" and found["gallery"] == str(tmp_path / "gallery.sqlite")
            else:
                address = line.split()[3]
                assert line == f"by hand at {address} (Ctrl-C ends it)\n"
            assert address.startswith("http://127.0.0.1:") and requests.get(address, timeout=60).status_code == 200
            assert len(list((tmp_path / "temporary").glob(f"{PREFIX}*"))) == 1
            for _ in range(3):  # as of an impatient user
                server.send_signal(end)
                time.sleep(0.02)
            assert server.wait(60) == 0
        finally:
            server.kill()
        assert "what was uploaded is deleted" in server.stderr.read()
    assert not list((tmp_path / "temporary").glob(f"{PREFIX}*"))
