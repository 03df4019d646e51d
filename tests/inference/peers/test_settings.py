import pytest

from speakerlab import InputError
from speakerlab.inference.peers.settings import check_settings, part, read_settings


def test_tags_are_data_and_references_are_filled_in(tmp_path):
    path = tmp_path / "hyperparams.yaml"
    path.write_text("n: 80\nf: !new:a.b.Fbank\n    n_mels: !ref <n>\n    list: [1, 2]\ng: !name:c.d\nh: !ref <n>\n")
    settings = read_settings(path)
    assert part(settings, "f") == {"!": "new:a.b.Fbank", "n_mels": 80, "list": [1, 2]}
    assert settings["g"] == {"!": "name:c.d"} and part(settings, "h") == part(settings, "none") == {}


@pytest.mark.parametrize(
    "contents",
    ["- 1\n", "a: [", "\t", "a: !!python/name:os.system\n", "[" * 20_000, "? {a: b}\n: c\n", "#" + "x" * 200_000],
    ids=["list", "open", "tab", "python", "deep", "key", "long"],
)
def test_anything_else_is_refused_in_a_line(tmp_path, contents):
    path = tmp_path / "hyperparams.yaml"
    path.write_text(contents)
    with pytest.raises(InputError, match="hyperparams.yaml") as caught:
        read_settings(path)
    assert "\n" not in str(caught.value)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no YAML"):
        read_settings(path)


def test_aliases_that_multiply_take_no_memory(tmp_path):
    path = tmp_path / "hyperparams.yaml"
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30))]
    path.write_text("\n".join(lines))
    assert len(read_settings(path)) == 30


def test_only_what_is_given_is_checked(tmp_path):
    check_settings(tmp_path, "features", {"n_fft": 400}, {"n_fft": (400,), "hop": (10,)})
    with pytest.raises(
        InputError, match="features.n_fft is 512, of which there is no counterpart here, only 400 or 401"
    ):
        check_settings(tmp_path, "features", {"n_fft": 512}, {"n_fft": (400, 401)})
