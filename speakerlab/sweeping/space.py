"""Search spaces, in the words of Hydra's command line: `interval(0.05, 0.5)`, `tag(log, interval(1e-4, 1e-2))`,
`int(interval(8, 64))`, `range(1, 9, 2)`, `choice(aam, am)` and `aam,am`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep, Transformer
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from speakerlab import InputError
from speakerlab.shipped import nearest

FORMS = "interval(a, b), int(interval(a, b)), tag(log, interval(a, b)), range(a, b, step) or choice(x, y, ...)"
Value = float | int | str | bool  # of a parameter, as it is written after `key=`


@dataclass(frozen=True)
class Condition:
    """`loss=aam,am`: holds where this key has one of these values."""

    key: str
    values: tuple[Value, ...]

    def holds(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return f"{self.key}={','.join(str(value) for value in self.values)}"


@dataclass(frozen=True)
class Parameter:
    """What a trial is given a value for.

    Attributes:
        key: as on the command line of `train.py`.
        distribution: of its values.
        when: it exists in trials in which one of these holds; in all where there are none.
    """

    key: str
    distribution: BaseDistribution
    when: tuple[Condition, ...] = ()

    def suggest(self, trial: optuna.Trial) -> Value:
        """The trial's value of it."""
        d = self.distribution
        if isinstance(d, FloatDistribution):
            return trial.suggest_float(self.key, d.low, d.high, step=d.step, log=d.log)
        if isinstance(d, IntDistribution):
            return trial.suggest_int(self.key, d.low, d.high, step=d.step, log=d.log)
        return trial.suggest_categorical(self.key, d.choices)


@dataclass(frozen=True)
class Space:
    """The parameters of a sweep, each after those that it depends on."""

    parameters: tuple[Parameter, ...]

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        """A value for every parameter that exists in this trial."""
        chosen: dict[str, Value] = {}
        for parameter in self.parameters:
            if self._exists(parameter, chosen):
                chosen[parameter.key] = parameter.suggest(trial)
        return chosen

    @staticmethod
    def _exists(parameter: Parameter, chosen: Mapping[str, Value]) -> bool:
        return not parameter.when or any(
            condition.key in chosen and condition.holds(chosen[condition.key]) for condition in parameter.when
        )

    def examples(self) -> Iterator[dict[str, Value]]:
        """A trial with the first of all choices; for each other choice, one that differs in that; each of them with all
        numbers at their lower ends, and with all at their upper ends."""
        others = [
            {parameter.key: choice}
            for parameter in self.parameters
            if isinstance(parameter.distribution, CategoricalDistribution)
            for choice in parameter.distribution.choices[1:]
        ]
        found: list[dict[str, Value]] = []
        for given in [{}, *others]:
            for end in ("low", "high"):
                example = self._example(given, end)
                if given.items() <= example.items() and example not in found:
                    found.append(example)
                    yield example

    def _example(self, given: Mapping[str, Value], end: str) -> dict[str, Value]:
        chosen: dict[str, Value] = {}
        for parameter in self.parameters:
            if self._exists(parameter, chosen):
                d = parameter.distribution
                own = d.choices[0] if isinstance(d, CategoricalDistribution) else getattr(d, end)
                chosen[parameter.key] = given.get(parameter.key, own)
        return chosen

    def check_point(self, point: Mapping[str, object]) -> dict[str, Value]:
        """A point to try, which may leave parameters out, with its values as the space writes them.

        Raises:
            InputError: for a parameter that the space does not have, or one that does not exist beside the others; for
                a value outside of its range.
        """
        known = {parameter.key: parameter for parameter in self.parameters}
        found: dict[str, Value] = {}
        for key, value in point.items():
            if key not in known:
                raise InputError(f"{key} of the point {_shown(point)} is not in the space{nearest(key, list(known))}")
            found[key] = _written(value)
            if not _contains(known[key].distribution, found[key]):
                raise InputError(f"{key}={found[key]} of the point {_shown(point)} is not in {described(known[key])}")
        for key in found:
            conditions = known[key].when
            if conditions and not any(condition.holds(found.get(condition.key)) for condition in conditions):
                wanted = " or ".join(map(str, conditions))
                raise InputError(f"{key} of the point {_shown(point)} exists only with {wanted}: give that too")
        return found

    def settled(self, value_of: Callable[[str], object]) -> "Space":
        """The space in which conditions on what no trial changes have been decided.

        Args:
            value_of: a key's value in the config that all trials share: a group's member, or a number; raises
                `InputError` for an unknown key.
        """
        keys = {parameter.key for parameter in self.parameters}
        kept = []
        for parameter in self.parameters:
            fixed = [condition for condition in parameter.when if condition.key not in keys]
            if any(condition.holds(_written(value_of(condition.key))) for condition in fixed):
                parameter = replace(parameter, when=())
            elif parameter.when:
                open_ = tuple(condition for condition in parameter.when if condition.key in keys)
                if not open_:
                    continue
                parameter = replace(parameter, when=open_)
            kept.append(parameter)
        kept_keys = {parameter.key for parameter in kept}
        # Conditions on a parameter that does not exist itself can't hold.
        if kept_keys < keys:
            return Space(tuple(kept)).settled(lambda key: None if key in keys else value_of(key))
        return Space(tuple(kept))

    def definition(self) -> dict[str, str]:
        """The space in words, equal for equal spaces: key -> range, and when it exists."""
        return {
            parameter.key: " ".join(
                [described(parameter), *(f"when {one}" for one in sorted(map(str, parameter.when)))]
            )
            for parameter in self.parameters
        }


def read_space(
    params: Mapping[str, object] | None,
    overrides: Sequence[str],
    when: Mapping[str, str | Sequence[str]] | None = None,
) -> tuple[Space, list[str]]:
    """The space that `hydra.sweeper.params` and a command line describe, and what of the two all trials share.

    What the command line says of a parameter replaces what `params` says; a plain value takes it out of the space.

    Args:
        params: key -> range, in Hydra's override grammar.
        overrides: of the command line.
        when: parameter -> condition or conditions, of which one must hold for the parameter to exist.

    Raises:
        InputError: in one line, for what can't be read.
    """
    ranged: dict[str, Override] = {}
    fixed: list[tuple[str, str]] = []
    for line in [f"{key}={_text(value)}" for key, value in (params or {}).items()] + list(overrides):
        override = _parsed(line)
        key = override.get_key_element().lstrip("+~")  # the later one counts, with + or without
        ranged.pop(key, None)
        if override.is_sweep_override():
            fixed = [(other, known) for other, known in fixed if other != key]
            ranged[key] = override
        else:
            fixed.append((key, line))
    conditions = {key: _conditions(key, given) for key, given in (when or {}).items()}
    parameters = {override.get_key_element(): distribution_of(override) for override in ranged.values()}
    for key in conditions:
        if key not in parameters and key not in (params or {}):
            raise InputError(f"sweep.when: {key} is not a parameter of the space{nearest(key, list(parameters))}")
    every = [Parameter(key, found, conditions.get(key, ())) for key, found in parameters.items()]
    return Space(tuple(_ordered(every))), [line for _, line in fixed]


def is_range(override: str) -> bool:
    """Whether an override of the command line gives several values.

    Raises:
        InputError: if it can't be read.
    """
    return _parsed(override).is_sweep_override()


def distribution_of(override: Override) -> BaseDistribution:
    """Optuna's distribution for one of Hydra's sweeps.

    Raises:
        InputError: for a range that is empty, or of a kind that can't be searched.
    """
    value, line = override.value(), override.input_line
    if isinstance(value, Glob):
        raise InputError(f"{line}: name the members: choice(x, y, ...)")
    if override.is_interval_sweep():
        return _interval(value, line)
    if value.tags:
        raise InputError(f"{line}: tag({', '.join(sorted(value.tags))}, ...) goes with an interval")
    if override.is_range_sweep() and not value.shuffle and not value.transformers:
        return _range(value, line)
    return CategoricalDistribution(list(override.sweep_iterator(transformer=_written)))


def _interval(value: IntervalSweep, line: str) -> BaseDistribution:
    if value.tags - {"log"}:
        raise InputError(f"{line}: the only tag that means something here is log")
    low, high, log = value.start, value.end, "log" in value.tags
    if not low < high:
        raise InputError(f"{line}: the first number must be below the second")
    if log and not low > 0:
        raise InputError(f"{line}: a logarithmic interval must begin above 0")
    if isinstance(low, int) and isinstance(high, int):  # within int(...)
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _range(value: RangeSweep, line: str) -> BaseDistribution:
    """Of integers a range with its step; of others the numbers themselves, as Hydra counts them."""
    if value.step == 0:
        raise InputError(f"{line}: the step is 0")
    numbers = list(value)
    if not numbers:
        raise InputError(f"{line}: there is no number in this range")
    low, high = min(numbers), max(numbers)
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(low, high, step=abs(int(value.step)))
    return FloatDistribution(low, high, step=abs(float(value.step)))


def described(parameter: Parameter) -> str:
    """A parameter's range in words that the command line would take.

    >>> described(Parameter("lr", FloatDistribution(1e-4, 1e-2, log=True)))
    'tag(log, interval(0.0001, 0.01))'
    """
    d = parameter.distribution
    if isinstance(d, CategoricalDistribution):
        return f"choice({', '.join(map(str, d.choices))})"
    if d.step not in (None, 1):
        return f"range({d.low}, {d.high + d.step}, {d.step})"
    inside = f"interval({d.low}, {d.high})"
    inside = f"int({inside})" if isinstance(d, IntDistribution) else inside
    return f"tag(log, {inside})" if d.log else inside


def _conditions(key: str, given: str | Sequence[str]) -> tuple[Condition, ...]:
    found = []
    for line in [given] if isinstance(given, str) else list(given):
        override = _parsed(str(line))
        if override.is_interval_sweep() or override.is_range_sweep() or override.is_delete():
            raise InputError(f"sweep.when: {key}: {line} must be key=value or key=value,value")
        if override.is_choice_sweep():
            values = tuple(override.sweep_iterator(transformer=_written))
        else:
            values = (_written(override.value()),)
        found.append(Condition(override.get_key_element(), values))
    return tuple(found)


def _ordered(parameters: list[Parameter]) -> Iterator[Parameter]:
    """Each after those in its conditions."""
    left, given = list(parameters), set()
    keys = {parameter.key for parameter in parameters}
    while left:
        ready = [p for p in left if all(condition.key in given or condition.key not in keys for condition in p.when)]
        if not ready:
            raise InputError(f"sweep.when: {', '.join(p.key for p in left)} depend on each other in a circle")
        yield ready[0]
        given.add(ready[0].key)
        left.remove(ready[0])


def _parsed(line: str) -> Override:
    try:
        return OverridesParser.create().parse_override(line)
    except Exception as error:  # Hydra's and ANTLR's have no common base
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{line}: can't be read ({first}); a range is {FORMS}") from error


def _contains(distribution: BaseDistribution, value: Value) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return any(value == choice and type(value) is type(choice) for choice in distribution.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return distribution._contains(distribution.to_internal_repr(value))


def _written(value: Any) -> Value:
    """A plain value as it stands after `key=`; a number stays one. Hydra's own `Transformer.encode` leaves commas and
    the like in text as they are, which would be read as several values."""
    return Transformer.str(value) if isinstance(value, str) else Transformer.encode(value)


def _text(value: object) -> str:
    """A value of a YAML file as the command line would have it; text is in its words already."""
    return value if isinstance(value, str) else str(_written(value))


def _shown(point: Mapping[str, object]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in point.items()) + "}"
