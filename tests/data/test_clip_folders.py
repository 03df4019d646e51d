"""Folders of noise: what is in them, and what is said of those that are no use."""

import numpy as np
import pytest
import soundfile

from speakerlab import InputError
from speakerlab.data.clip_folders import assumed_clips, clips_below


def test_the_files_of_a_folder_and_a_line_about_them(tmp_path):
    folder = tmp_path / "good"
    (folder / "b").mkdir(parents=True)
    for name, rate in (("a.wav", 16000), ("b/c.flac", 8000)):
        soundfile.write(folder / name, np.full(1000, 0.1), rate)
    (folder / "broken.wav").write_bytes(b"RIFF")
    clips, note = clips_below(str(folder), "augment.x", tmp_path)
    assert sorted(clips) == [(str(folder / "a.wav"), 1000, 16000), (str(folder / "b/c.flac"), 1000, 8000)]
    assert note.startswith(f"augment.x: 2 files in {folder}; 1 more can't be read (such as broken.wav: ")


def test_folders_without_audio_that_can_be_read(tmp_path):
    (tmp_path / "noise").mkdir()
    for content, message in ((None, "holds no audio$"), (b"x", r"holds no audio that can be read \(a\.wav: ")):
        if content:
            (tmp_path / "noise" / "a.wav").write_bytes(content)
        with pytest.raises(InputError, match=rf"augment\.x\.folder={tmp_path}/noise: {message}"):
            clips_below(str(tmp_path / "noise"), "augment.x", tmp_path / "cache")
    for find_clips in (assumed_clips, lambda folder, key: clips_below(folder, key, tmp_path)):
        with pytest.raises(InputError, match=r"^augment\.x\.folder=nowhere: there is no such folder$"):
            find_clips("nowhere", "augment.x")
