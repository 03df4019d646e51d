"""The events against what TensorBoard's own HParams plugin makes of them."""

from pathlib import Path

import pytest
from optuna.trial import TrialState
from studies import FAILS, make_study
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

from speakerlab.sweeping.hparams import write_hparams

ASKED = [api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_RUNNING]


def tab(folder: Path) -> tuple[api_pb2.Experiment, list[api_pb2.Session]]:
    """What the tab is given: the experiment, and its sessions."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    context = backend_context.Context(TBContext(logdir=str(folder), multiplexer=multiplexer, data_provider=provider))
    request = RequestContext()
    experiment = get_experiment.Handler(request, context, "", api_pb2.GetExperimentRequest()).run()
    columns = [api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos]
    wanted = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=ASKED,
        col_params=columns,
        start_index=0,
        slice_size=1000,
        aggregation_type=api_pb2.AGGREGATION_AVG,
    )
    groups = list_session_groups.Handler(request, context, "", wanted).run().session_groups
    return experiment, [session for group in groups for session in group.sessions], groups


@pytest.mark.parametrize("two", [False, True], ids=["one", "two"])
def test_the_tab_shows_every_trial(tmp_path, two):
    study = make_study(tmp_path / "study", two=two)
    write_hparams(study, tmp_path / "study")
    write_hparams(study, tmp_path / "study")  # again: nothing twice
    experiment, sessions, groups = tab(tmp_path / "study")
    assert {info.name for info in experiment.hparam_infos} == set(study.trials[0].params)
    names = ["sweep/eer", "sweep/parameters"][: 1 + two]
    assert [info.name.tag for info in experiment.metric_infos] == names
    by_number = {int(session.name.rpartition("trial_")[2]): session for session in sessions}
    assert sorted(by_number) == [trial.number for trial in study.trials]
    for group in groups:
        (session,) = group.sessions
        trial = study.trials[int(session.name.rpartition("trial_")[2])]
        given = {name: value.string_value or value.number_value for name, value in group.hparams.items()}
        assert given == trial.params
        values = {value.name.tag: value.value for value in session.metric_values}
        if trial.number == FAILS:
            assert not values and session.status == api_pb2.STATUS_FAILURE
            continue
        expected = (
            trial.values if trial.state == TrialState.COMPLETE else [list(trial.intermediate_values.values())[-1]]
        )
        assert values == pytest.approx(dict(zip(names, expected)), rel=1e-6)
        good = trial.state == TrialState.COMPLETE
        assert session.status == (api_pb2.STATUS_SUCCESS if good else api_pb2.STATUS_UNKNOWN)
