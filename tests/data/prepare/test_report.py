from pathlib import Path

import pyarrow as pa

from speakerlab.data.prepare.report import summary
from speakerlab.data.prepare.rows import Prepared


def test_recordings_of_nobody_are_no_speaker_of_unknown_gender():
    rows = [("sp1", "f", "train"), ("sp1", "f", "train"), ("sp2", "", "train"), ("", "", "distractors")]
    names = [str(place) for place in range(len(rows))]
    speaker, gender, split = zip(*rows, strict=True)
    columns = {"speaker": speaker, "gender": gender, "split": split, "path": names, "root": names}
    table = pa.table({**columns, "samples": [16000] * 4, "sample_rate": [16000] * 4})
    lines = summary(Prepared("voices", Path("to"), table, [], {}, {}, [])).splitlines()
    assert lines[0] == "voices: 4 utterances of 2 speakers, 4.0 s"
    assert "speakers: 1 unknown, 1 f" in lines
    assert [line.split(None, 1) for line in lines if line.startswith("  ")] == [
        ["distractors", "1 recording, 1.0 s"],
        ["train", "3 utterances of 2 speakers, 3.0 s"],
    ]
