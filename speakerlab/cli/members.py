"""What the members of a multirun differ in, and what each came to."""

import json
import sys
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig

from speakerlab.cli.member_checks import swept_keys
from speakerlab.cli.objective import objectives
from speakerlab.cli.outcome import FILE, Outcome, read_outcome

OVERRIDES = "overrides.json"  # a member's values, in its folder
SWEEP = "sweep.json"  # of the sweep, in its folder
OF_EVALUATION = "result"  # EER or error rate


def write_sweep(config: DictConfig, config_name: str, folder: Path) -> None:
    """Note the command, the keys that vary and what the results are."""
    names = objectives(config) if config_name == "train" else [OF_EVALUATION]
    facts = {"command": [Path(sys.argv[0]).name, *sys.argv[1:]], "varied": swept_keys(config), "objectives": names}
    (folder / SWEEP).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def read_sweep(folder: Path) -> dict[str, list[str]]:
    """What `write_sweep` has noted."""
    return json.loads((folder / SWEEP).read_text(encoding="utf-8"))


def key_of(override: str) -> str:
    """
    >>> key_of("+augment/waveform=gain")
    'augment/waveform'
    """
    return override.lstrip("+~").partition("=")[0]


def summarise(folder: Path) -> list[dict[str, str]]:
    """Write `members.csv` and print it: a row for each member that was begun, in their order."""
    from speakerlab.cli.tables import show, text_table
    from speakerlab.data.manifest import write_rows
    from speakerlab.reports.metric_names import metric_name, metric_value

    sweep = read_sweep(folder)
    begun = sorted(int(path.parent.name) for path in folder.glob(f"*/{OVERRIDES}"))
    rows, shown = [], {}
    for number in begun:
        overrides = json.loads((folder / str(number) / OVERRIDES).read_text(encoding="utf-8"))
        own = {key_of(value): value.partition("=")[2] for value in overrides}
        outcome = read_outcome(folder / str(number) / FILE) or Outcome(error="did not come to an end")
        values = outcome.value if isinstance(outcome.value, list) else [outcome.value]
        values = dict(zip(sweep["objectives"], values))
        varied = {key: own.get(key, "") for key in sweep["varied"]}
        numbers = {name: "" if values.get(name) is None else f"{values[name]:.6g}" for name in sweep["objectives"]}
        rows.append({"member": str(number)} | varied | numbers | {"error": outcome.error or ""})
        words = {metric_name(name): metric_value(name, values.get(name)) for name in sweep["objectives"]}
        drawn = {key: _number(value) for key, value in varied.items()}
        shown[str(number)] = drawn | words | {"error": outcome.error or ""}
    if not rows:
        return rows
    write_rows(folder / "members.csv", [list(rows[0]), *(row.values() for row in rows)])
    shows_runs = sweep["objectives"] != [OF_EVALUATION] and not (folder / "study.db").exists()  # which says it itself
    if not any(row["error"] for row in rows):
        shown = {name: {key: cell for key, cell in row.items() if key != "error"} for name, row in shown.items()}
    show(
        text_table(f"\n{len(rows)} members", shown, (*sweep["varied"], "error")),
        f"table        {short(folder / 'members.csv')}",
        *([f"TensorBoard  tensorboard --logdir {short(folder)}"] if shows_runs else []),
    )
    return rows


def _number(value: str) -> str:
    """A number that a sampler drew, to four digits."""
    try:
        return f"{float(value):.4g}" if len(value) > 8 else value
    except ValueError:
        return value


def short(path: Path) -> Path:
    """As it is seen from the working folder."""
    with suppress(ValueError):
        return path.relative_to(Path.cwd())
    return path
