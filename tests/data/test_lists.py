import pytest

from speakerlab import InputError
from speakerlab.data.lists import read_lines


def test_blank_lines_count(tmp_path):
    (tmp_path / "list").write_bytes("\ufeff\n 1 a\r\n\n2\tb  \n".encode())
    lines = read_lines(tmp_path / "list", "split list")
    assert lines.rows.to_pylist() == ["1 a", "2\tb"] and lines.numbers.tolist() == [2, 4]
    assert lines.words("two").to_pylist() == ["1", "a", "2", "b"]
    with pytest.raises(InputError, match=r"list, line 2: not three columns: '1 a' \(and 1 more\)"):
        lines.words("three")


def test_what_is_no_list_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone: the split list can't be read"):
        read_lines(tmp_path / "gone", "split list")
