from types import SimpleNamespace

import numpy as np

from speakerlab.data.development import MEASURED
from speakerlab.training.measured import write_measured


def trainer(folder, epoch: int, first: bool = True) -> SimpleNamespace:
    place = {"current_epoch": epoch, "global_step": 10 * (epoch + 1)}
    return SimpleNamespace(default_root_dir=str(folder), is_global_zero=first, **place)


def test_the_last_epoch_is_kept_with_some_embeddings(tmp_path):
    generator = np.random.default_rng(0)
    speakers = generator.integers(0, 90, 9000)
    embeddings = generator.normal(size=(9000, 4)).astype(np.float32)
    for epoch in (0, 1):
        write_measured(trainer(tmp_path, epoch), speakers, embeddings, {"scores": np.full(3, epoch)})
    with np.load(tmp_path / MEASURED) as kept:
        assert (kept["epoch"], kept["step"], kept["scores"].tolist()) == (2, 20, [1, 1, 1])
        np.testing.assert_array_equal(kept["embeddings"], embeddings[kept["rows"]])
        assert len(kept["rows"]) == 500
    assert [path.name for path in (tmp_path / MEASURED).parent.iterdir()] == [MEASURED.name]
