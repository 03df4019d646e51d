"""What TensorBoard reads back."""

import io

import numpy as np
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from speakerlab.reports.embedding_map import Sample
from speakerlab.reports.events import write_events
from speakerlab.reports.figure import figure_image, new_figure


def drawn():
    figure, (axes,) = new_figure(3.0, 2.0)
    axes.plot([0, 1], [1, 0])
    return figure


def test_images_and_projector_are_read_back(tmp_path):
    figure = drawn()
    embeddings = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    sample = Sample(embeddings, np.array(["anna", "anna", "ben\tlee", "ben\tlee", "carl"]))
    for _ in range(2):  # again: it is replaced, not added
        write_events(tmp_path, {"evaluation/det": figure}, sample, step=12)
    events = EventAccumulator(str(tmp_path)).Reload()
    (image,) = events.Images("evaluation/det")
    assert image.step == 12
    pixels = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)).convert("RGB"))
    np.testing.assert_array_equal(pixels, figure_image(figure))
    assert pixels.shape == (200, 300, 3) and pixels.min() < 100
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (shown,) = config.embeddings
    np.testing.assert_allclose(np.loadtxt(tmp_path / shown.tensor_path), embeddings, rtol=1e-5)
    names = (tmp_path / shown.metadata_path).read_text().splitlines()
    assert names == ["anna", "anna", "ben lee", "ben lee", "carl"]


def test_without_embeddings_there_is_no_projector(tmp_path):
    write_events(tmp_path, {"a": drawn()}, None, 0)
    assert not (tmp_path / "projector_config.pbtxt").exists()
