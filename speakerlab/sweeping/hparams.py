"""A study's trials for TensorBoard's tab HParams: a table, parallel coordinates, a matrix of scatter plots."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from speakerlab.sweeping.results import objectives_of
from speakerlab.sweeping.study import counted

EVENTS = "tensorboard"  # their folder in the study's
TAG = "sweep/{}"  # of an objective
STATUS = {
    TrialState.COMPLETE: api_pb2.STATUS_SUCCESS,
    TrialState.RUNNING: api_pb2.STATUS_RUNNING,
    TrialState.PRUNED: api_pb2.STATUS_UNKNOWN,
    TrialState.FAIL: api_pb2.STATUS_FAILURE,
}


def write_hparams(study: optuna.Study, folder: Path) -> Path:
    """Write a run for every trial that was begun; what an earlier call wrote is replaced. Returns the events' folder.

    Args:
        study: to show.
        folder: of the study; `tensorboard --logdir` is given it, or one above.
    """
    events = folder / EVENTS
    shutil.rmtree(events, ignore_errors=True)
    trials = [trial for trial in counted(study.get_trials(deepcopy=False)) if trial.state in STATUS]
    _write(events, [_experiment(trials, objectives_of(study))])
    for trial in trials:
        _write(events / f"trial_{trial.number:03d}", _session(trial, objectives_of(study)))
    return events


def _write(folder: Path, summaries: Sequence[Summary]) -> None:
    writer = EventFileWriter(str(folder))
    for summary in summaries:
        writer.add_event(Event(step=0, summary=summary))
    writer.close()


def _experiment(trials: Sequence[FrozenTrial], objectives: Sequence[str]) -> Summary:
    """Which parameters there are, of what kind, and which metrics."""
    distributions: dict[str, BaseDistribution] = {}
    for trial in trials:
        distributions |= trial.distributions
    experiment = api_pb2.Experiment(
        hparam_infos=[_described(name, distribution) for name, distribution in distributions.items()],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=TAG.format(name)), display_name=name) for name in objectives
        ],
    )
    return _summary(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment))


def _described(name: str, distribution: BaseDistribution) -> api_pb2.HParamInfo:
    if isinstance(distribution, CategoricalDistribution):
        info = api_pb2.HParamInfo(name=name, type=api_pb2.DATA_TYPE_STRING)
        info.domain_discrete.extend([str(choice) for choice in distribution.choices])
        return info
    info = api_pb2.HParamInfo(name=name, type=api_pb2.DATA_TYPE_FLOAT64)
    info.domain_interval.min_value, info.domain_interval.max_value = distribution.low, distribution.high
    return info


def _session(trial: FrozenTrial, objectives: Sequence[str]) -> list[Summary]:
    """One trial: its parameters, its values and how it ended."""
    began = plugin_data_pb2.SessionStartInfo()
    if trial.datetime_start is not None:
        began.start_time_secs = trial.datetime_start.timestamp()
    for name, value in trial.params.items():
        if isinstance(trial.distributions[name], CategoricalDistribution):
            began.hparams[name].string_value = str(value)
        else:
            began.hparams[name].number_value = value
    ended = plugin_data_pb2.SessionEndInfo(status=STATUS[trial.state])
    if trial.datetime_complete is not None:
        ended.end_time_secs = trial.datetime_complete.timestamp()
    data = plugin_data_pb2.HParamsPluginData
    return [
        _summary(metadata.SESSION_START_INFO_TAG, data(session_start_info=began)),
        *_scalars(trial, objectives),
        _summary(metadata.SESSION_END_INFO_TAG, data(session_end_info=ended)),
    ]


def _scalars(trial: FrozenTrial, objectives: Sequence[str]) -> Iterator[Summary]:
    values = trial.values
    if values is None and trial.intermediate_values:  # of a pruned trial, what it was pruned at
        values = [trial.intermediate_values[max(trial.intermediate_values)]]
    for name, value in zip(objectives, values or ()):
        yield Summary(value=[Summary.Value(tag=TAG.format(name), simple_value=value)])


def _summary(tag: str, data: plugin_data_pb2.HParamsPluginData) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data))])
