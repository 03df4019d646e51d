from speakerlab.data.journal import Journal


def test_it_remembers(tmp_path):
    journal = Journal(tmp_path / "state/a.jsonl")
    journal.add("a/ä\u2028.wav", 1, None, -0.5, "x\ny")
    journal.add("b", 1)
    journal.add("b", 2)
    again = Journal(tmp_path / "state/a.jsonl")
    assert again.get("a/ä\u2028.wav") == [1, None, -0.5, "x\ny"]
    assert again.get("b") == [2] and again.get("c") is None


def test_every_cut_costs_one_line_at_most(tmp_path):
    journal = Journal(tmp_path / "a.jsonl")
    for n in range(5):
        journal.add(f"file{n}", n, "detail")
    content = (tmp_path / "a.jsonl").read_bytes()
    for length in range(len(content) + 1):
        (tmp_path / "b.jsonl").write_bytes(content[:length])
        cut = Journal(tmp_path / "b.jsonl")
        whole = content[:length].count(b"\n")
        assert whole <= len(cut.known) <= whole + 1
        cut.add("new", 7)
        again = Journal(tmp_path / "b.jsonl")
        assert again.get("new") == [7] and again.known == cut.known


def test_reading_makes_no_file(tmp_path):
    assert Journal(tmp_path / "a.jsonl").known == {}
    assert not list(tmp_path.iterdir())
