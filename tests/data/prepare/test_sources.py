"""The shipped sources are whole, and mistakes in one's own are told in one line."""

import re
from importlib import import_module

import pytest
import yaml

from speakerlab import InputError
from speakerlab.data.prepare.sources import read_sources
from speakerlab.shipped import CONF

FILES = sorted((CONF / "prepare").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_sources(path):
    sources = read_sources(path)
    assert sources.corpus == path.stem
    corpus = import_module(f"speakerlab.data.corpora.{sources.corpus}")
    assert callable(corpus.describe) and callable(corpus.read_speakers) and corpus.LAYOUT
    files = [part for archive in sources.archives for part in archive.parts] + [entry.file for entry in sources.lists]
    assert len({file.name for file in files}) == len(files) and sources.archives
    for file in files:
        assert file.md5 is None or re.fullmatch("[0-9a-f]{32}", file.md5), file
        assert all(url.startswith("https://") and url.endswith(f"/{file.name}") for url in file.urls)
    assert all(part.urls for archive in sources.archives for part in archive.parts)
    assert len({file.md5 for file in files if file.md5}) == sum(file.md5 is not None for file in files)


def test_only_the_voices_devkit_has_no_checksum():
    unchecked = [
        part.name
        for path in FILES
        for archive in read_sources(path).archives
        for part in archive.parts
        if part.md5 is None
    ]
    assert unchecked == ["VOiCES_devkit.tar.gz"]


def test_known_sizes():
    """VoxCeleb2's development archive is 77.5 GB, LibriSpeech 61 GB."""
    assert read_sources(CONF / "prepare/voxceleb2.yaml").archives[0].bytes == 77477283208
    sizes = [archive.bytes for archive in read_sources(CONF / "prepare/librispeech.yaml").archives]
    assert sum(sizes) == pytest.approx(61.3e9, rel=0.002)
    assert read_sources(CONF / "prepare/voxceleb1.yaml").archives[0].bytes is None


@pytest.mark.parametrize(
    "base, url",
    [
        ("https://host/x", "https://host/x/vox1_test_wav.zip"),
        ("https://host/x/", "https://host/x/vox1_test_wav.zip"),
        ("https://host/get?key=1&file={file}", "https://host/get?key=1&file=vox1_test_wav.zip"),
    ],
)
def test_another_address(base, url):
    sources = read_sources(CONF / "prepare/voxceleb1.yaml", base)
    assert sources.archives[1].parts[0].urls == (url,)
    assert sources.lists[0].file.urls[0].startswith("https://mm.kaist.ac.kr/")  # archives alone lie at the mirror


def test_only():
    sources = read_sources(CONF / "prepare/librispeech.yaml")
    assert [archive.name for archive in sources.only(["train-clean-100", "dev-clean.tar.gz"]).archives] == [
        "dev-clean.tar.gz",
        "train-clean-100.tar.gz",
    ]
    with pytest.raises(InputError, match="--only train: librispeech has no such archive; it has dev-clean.tar.gz"):
        sources.only(["train"])


def change(tree: dict, *keys, value=None) -> None:
    *above, last = keys
    for key in above:
        tree = tree[key]
    if value is None:
        del tree[last]
    else:
        tree[last] = value


@pytest.mark.parametrize(
    "keys, value, message",
    [
        (("archives",), None, "lacks 'archives'"),
        (("archives_from",), ["ftp://host/x"], "'ftp://host/x' is no address"),
        (("lists_from",), ["host/x"], "'host/x' is no address"),
        (("corpus",), "nothing", "corpus 'nothing' has no"),
        (("archives", 0, "parts", 0, "name"), "../x", "'../x' is no plain file name"),
        (("archives", 0, "parts", 0, "sha1"), "x", "unknown key 'sha1' of vox1_dev_wav_partaa"),
        (("checks", "stereo"), "left", "checks.stereo='left' must be reject or mix"),
        (("checks", "max_bad_share"), 1.5, "max_bad_share=1.5 must lie in 0 to 1"),
        (("checks", "min_rate"), 0, "checks.min_rate=0 must be at least 1"),
        (("checks", "silence_db"), 3, "checks.silence_db=3 must be under 0"),
    ],
)
def test_mistakes(tmp_path, keys, value, message):
    tree = yaml.safe_load((CONF / "prepare/voxceleb1.yaml").read_text())
    change(tree, *keys, value=value)
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(InputError, match=f"a.yaml: {re.escape(message)}"):
        read_sources(tmp_path / "a.yaml")


@pytest.mark.parametrize("content, message", [("a: [", "is no YAML"), ("- 1", "see the files in conf/prepare/")])
def test_no_sources(tmp_path, content, message):
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_sources(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="b.yaml: can't be read"):
        read_sources(tmp_path / "b.yaml")
