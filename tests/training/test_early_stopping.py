"""When a run is ended."""

from types import SimpleNamespace

import pytest

from speakerlab.training.early_stopping import EarlyStopping


def run(callback: EarlyStopping, errors: list[float | None]) -> int | None:
    """The epoch after which it asks to stop."""
    trainer = SimpleNamespace(should_stop=False, is_global_zero=True)
    for epoch, error in enumerate(errors, 1):
        measured = {} if error is None else {"eer": error}
        callback.on_train_epoch_end(trainer, SimpleNamespace(development_metrics=measured))
        if trainer.should_stop:
            return epoch
    return None


@pytest.mark.parametrize(
    "patience, improvement, errors, stops",
    [
        (None, 0.0, [0.1] * 20, None),
        (2, 0.0, [0.3, 0.2, 0.2, 0.25, 0.1], 4),
        (2, 0.0, [0.3, 0.31, 0.2, 0.21, 0.1, 0.2], None),
        (1, 0.0, [0.3, None, None, 0.2, None, 0.2], 6),  # epochs without a measurement do not count
        (2, 0.1, [0.30, 0.29, 0.28], 3),  # better, but by less than a tenth
        (2, 0.1, [0.30, 0.26, 0.25, 0.23], None),
    ],
)
def test_it_counts_measurements_without_a_better_error(patience, improvement, errors, stops):
    assert run(EarlyStopping(patience, improvement), errors) == stops


def test_it_goes_on_counting_after_a_resume():
    first, second = EarlyStopping(3), EarlyStopping(3)
    assert run(first, [0.2, 0.3, 0.3]) is None
    second.load_state_dict(first.state_dict())
    assert run(second, [0.25]) == 1


def test_it_reads_the_error_rate_of_identification():
    trainer = SimpleNamespace(should_stop=False, is_global_zero=True)
    callback = EarlyStopping(1)
    for error in (0.5, 0.6):
        measured = {"accuracy": 1 - error, "error_rate": error}
        callback.on_train_epoch_end(trainer, SimpleNamespace(development_metrics=measured))
    assert trainer.should_stop


@pytest.mark.parametrize(
    "arguments, message",
    [({"patience": 0}, "patience=0 must be at least 1"), ({"min_improvement": 1.0}, r"must lie in \[0, 1\)")],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**arguments)
