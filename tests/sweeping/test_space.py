"""Ranges, against Hydra's own parser and its Optuna plugin; conditions and points by hand."""

import math

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from speakerlab import InputError
from speakerlab.sweeping.space import Space, described, is_range, read_space

RANGES = [
    "interval(0.05, 0.5)",
    "interval(1, 5)",
    "int(interval(8, 64))",
    "tag(log, interval(1e-4, 1e-2))",
    "tag(log, int(interval(2, 64)))",
    "range(1, 9, 2)",
    "range(5)",
    "range(9, 1, -2)",
    "range(0, 1, 0.25)",
    "choice(aam, am)",
    "aam,am",
    "choice(1, 2.5, true)",
    "1,null",
    "choice([1, 2], [3])",
    "shuffle(choice(1, 2, 3))",
]


def only(text: str) -> Space:
    return read_space({}, [f"x={text}"])[0]


@pytest.mark.parametrize("text", RANGES)
def test_ranges_are_those_of_hydras_plugin(text):
    """The same space through either door."""
    (parameter,) = only(text)
    expected = create_optuna_distribution_from_override(OverridesParser.create().parse_override(f"x={text}"))
    if "shuffle" in text:
        assert set(parameter.distribution.choices) == set(expected.choices)
    else:
        assert parameter.distribution == expected


@pytest.mark.parametrize(
    "text", [text for text in RANGES if "interval" not in text and "shuffle" not in text] + ["choice('a, b', \"c\")"]
)
def test_every_value_is_what_hydra_would_run(text):
    """What is appended after `key=`, for each value, against Hydra's own multirun."""
    (parameter,) = only(text)
    d = parameter.distribution
    if isinstance(d, CategoricalDistribution):
        values = list(d.choices)
    else:
        values = [d.low + i * d.step for i in range(round((d.high - d.low) / d.step) + 1)]
    parser = OverridesParser.create()
    expected = list(parser.parse_override(f"x={text}").sweep_string_iterator())
    read = [parser.parse_override(f"x={value}").value() for value in values]
    assert sorted(map(str, read)) == sorted(str(parser.parse_override(f"x={value}").value()) for value in expected)


@pytest.mark.parametrize("text", ["interval(0.05, 0.5)", "int(interval(8, 64))", "tag(log, interval(0.0001, 0.01))"])
def test_a_described_range_is_read_again(text):
    (parameter,) = only(text)
    assert only(described(parameter)) == Space((parameter,))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("interval(2, 1)", "first number must be below"),
        ("interval(1, 1)", "first number must be below"),
        ("tag(log, interval(0, 1))", "must begin above 0"),
        ("tag(cool, interval(0, 1))", "the only tag"),
        ("tag(log, choice(1, 2))", "goes with an interval"),
        ("tag(log, range(1, 9))", "goes with an interval"),
        ("range(3, 3)", "no number"),
        ("range(1, 3, 0)", "step is 0"),
        ("glob(*)", "name the members"),
        ("interval(1", "can't be read"),
        ("interval(a, b)", "can't be read"),
        ("choice()", "can't be read"),
    ],
)
def test_what_cant_be_searched_is_refused_in_a_line(text, expected):
    with pytest.raises(InputError) as caught:
        only(text)
    message = str(caught.value)
    assert expected in message and message.startswith("x=") and "\n" not in message


def test_the_command_line_replaces_the_spaces_ranges():
    params = {"loss.margin": "interval(0.05, 0.5)", "loss.scale": "interval(10, 40)", "optimizer": "adam,sgd"}
    space, fixed = read_space(params, ["model=ecapa", "loss.margin=0.3", "loss.scale=interval(1, 2)", "~logger"])
    assert {parameter.key: parameter.distribution for parameter in space} == {
        "loss.scale": FloatDistribution(1.0, 2.0),
        "optimizer": CategoricalDistribution(["adam", "sgd"]),
    }
    assert fixed == ["model=ecapa", "loss.margin=0.3", "~logger"]
    space, fixed = read_space(
        {"seed": 3, "name": None, "optimizer.betas": [0.9, 0.99]}, ["+augment/waveform=[gain]", "data.root=[a, b]"]
    )
    assert not space.parameters and fixed == [
        "seed=3",
        "name=null",
        "optimizer.betas=[0.9,0.99]",
        "+augment/waveform=[gain]",
        "data.root=[a, b]",
    ]
    assert is_range("a=1,2") and not is_range("a=[1,2]") and not is_range("~a")


CONDITIONAL = {"loss": "choice(softmax, aam, am)", "loss.margin": "interval(0, 1)", "loss.topology": "choice(a, b)"}
WHEN = {"loss.margin": ["loss=aam", "loss=am"], "loss.topology": "loss=aam,softmax"}


def suggested(space: Space, loss: str) -> set[str]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    study.enqueue_trial({"loss": loss})
    return set(space.suggest(study.ask()))


def test_a_parameter_exists_only_where_its_condition_holds():
    space, _ = read_space(CONDITIONAL, [], WHEN)
    assert suggested(space, "aam") == {"loss", "loss.margin", "loss.topology"}
    assert suggested(space, "am") == {"loss", "loss.margin"}
    assert suggested(space, "softmax") == {"loss", "loss.topology"}


def test_conditions_on_what_all_trials_share_are_settled():
    params = {key: text for key, text in CONDITIONAL.items() if key != "loss"} | {"loss.inner": "interval(0, 1)"}
    when = WHEN | {"loss.inner": "loss.topology=b"}
    space, _ = read_space(params, [], when)
    values = {"loss": "am"}
    assert [parameter.key for parameter in space.settled(values.__getitem__)] == ["loss.margin"]
    values = {"loss": "aam"}
    settled = space.settled(values.__getitem__)
    assert {parameter.key: len(parameter.when) for parameter in settled} == {
        "loss.margin": 0,
        "loss.topology": 0,
        "loss.inner": 1,
    }


def test_conditions_come_in_order_whatever_the_file_says():
    params = {"c": "choice(1, 2)", "b": "choice(1, 2)", "a": "choice(1, 2)"}
    space, _ = read_space(params, [], {"c": "b=1", "b": "a=2"})
    assert [parameter.key for parameter in space] == ["a", "b", "c"]
    with pytest.raises(InputError, match="circle"):
        read_space(params, [], {"c": "b=1", "b": "c=2"})
    with pytest.raises(InputError, match=r"d is not a parameter"):
        read_space(params, [], {"d": "b=1"})
    with pytest.raises(InputError, match="key=value"):
        read_space(params, [], {"a": "b=interval(0, 1)"})


def test_examples_cover_every_choice_and_both_ends():
    space, _ = read_space(CONDITIONAL, [], WHEN)
    assert list(space.examples()) == [
        {"loss": "softmax", "loss.topology": "a"},
        {"loss": "aam", "loss.margin": 0.0, "loss.topology": "a"},
        {"loss": "aam", "loss.margin": 1.0, "loss.topology": "a"},
        {"loss": "am", "loss.margin": 0.0},
        {"loss": "am", "loss.margin": 1.0},
        {"loss": "softmax", "loss.topology": "b"},
    ]
    assert list(only("tag(log, interval(1e-4, 1e-2))").examples()) == [{"x": 1e-4}, {"x": 1e-2}]


def test_points_are_checked():
    space, _ = read_space(CONDITIONAL | {"n": "range(1, 9, 2)"}, [], WHEN)
    assert space.check_point({"loss": "aam", "loss.margin": 0.2, "n": 3}) == {"loss": "aam", "loss.margin": 0.2, "n": 3}
    for point, expected in [
        ({"los": "aam"}, "did you mean loss?"),
        ({"loss": "triplet"}, r"choice\(softmax, aam, am\)"),
        ({"loss": "aam", "loss.margin": 1.5}, r"interval\(0.0, 1.0\)"),
        ({"loss": "softmax", "loss.margin": 0.5}, "only with loss=aam or loss=am"),
        ({"n": 2}, r"range\(1, 9, 2\)"),
        ({"n": True}, "n=True"),
        ({"loss": "aam", "loss.margin": "wide"}, "loss.margin=wide"),
    ]:
        with pytest.raises(InputError, match=expected):
            space.check_point(point)


def test_suggestions_cover_the_range():
    """Drawn at random: within bounds, on both halves, on a logarithmic scale where the tag says so."""
    space, _ = read_space(
        {"x": "interval(2, 4)", "lr": "tag(log, interval(1e-4, 1e-2))", "n": "int(interval(1, 3))"}, []
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    drawn = [space.suggest(study.ask()) for _ in range(200)]
    assert all(2 <= d["x"] <= 4 and 1e-4 <= d["lr"] <= 1e-2 for d in drawn)
    assert {d["n"] for d in drawn} == {1, 2, 3} and all(isinstance(d["n"], int) for d in drawn)
    assert abs(sum(math.log10(d["lr"]) for d in drawn) / 200 + 3) < 0.2  # its middle is 1e-3
    assert abs(sum(d["x"] for d in drawn) / 200 - 3) < 0.2


def test_a_definition_tells_spaces_apart():
    def definition(params, when=None):
        return read_space(params, [], when)[0].definition()

    assert definition(CONDITIONAL, WHEN) == definition(CONDITIONAL, {**WHEN, "loss.margin": ["loss=am", "loss=aam"]})
    assert definition(CONDITIONAL, WHEN) != definition(CONDITIONAL)
    assert definition({"x": "interval(0, 1)"}) != definition({"x": "interval(0, 2)"})
    assert IntDistribution(1, 2) == only("int(interval(1, 2))").parameters[0].distribution
