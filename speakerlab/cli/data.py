"""`speakerlab data`: a look at a corpus, and a listen to what the network is fed.

speakerlab data summary                                      # the corpus of `python train.py`
speakerlab data summary data=folder data.root=/data/voices   # any override of train.py
speakerlab data summary /data/voices /data/more              # folders, without a configuration
speakerlab data summary /data/voxceleb1 --json               # prepared; or a manifest, or a folder of shards
speakerlab data listen augment=noise augment.noise_dir=/data/musan/noise --count 4
"""

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path

from speakerlab import InputError
from speakerlab.cli.looks import check_audio, corpus_name, look_at_corpus, look_at_paths

WORDS = "KEY=VALUE: overrides of train.py's configuration, such as data=folder data.root=/data/voices"


class Parser(argparse.ArgumentParser):
    """Takes words before, between and behind options; argparse refuses those behind an option that follows a word."""

    def parse_known_args(self, args=None, namespace=None):
        chosen, rest = super().parse_known_args(args, namespace)
        if hasattr(chosen, "words"):
            chosen.words += [word for word in rest if not word.startswith("-")]
            rest = [word for word in rest if word.startswith("-")]
        return chosen, rest


def add_commands(commands) -> None:
    """Add `data summary` and `data listen`."""
    family = commands.add_parser("data", help="look at a corpus, listen to what the network is fed")
    data = family.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    summary = data.add_parser(
        "summary",
        help="speakers, hours, lengths, sample rates ... as table, page and figures",
        description="Count a corpus: one that train.py would train on, or bare folders, manifests and shards.",
    )
    summary.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help=f"either {WORDS}; or paths: manifests, prepared folders, folders of shards or audio (a folder a speaker). "
        "A word with = is an override unless it begins with /, . or ~/. Nothing is train.py's default corpus",
    )
    summary.add_argument("--json", action="store_true", help="print the numbers as JSON, and write no page")
    summary.add_argument("--to", metavar="DIR", type=Path, help="folder of the page (default: outputs/data/NAME)")
    summary.set_defaults(run=run_summary)
    listen = data.add_parser(
        "listen",
        help="training items before and after augmentation: sounds, pictures, a page",
        description="Write the first items of a training epoch as the network gets them: the same crops and draws.",
    )
    listen.add_argument("words", nargs="*", metavar="KEY=VALUE", help=WORDS.partition(": ")[2])
    listen.add_argument("--count", type=int, default=8, metavar="N", help="items (default: 8)")
    listen.add_argument("--epoch", type=int, default=0, metavar="N", help="of which epoch (default: 0)")
    listen.add_argument("--each", action="store_true", help="every augmentation alone, on each of the items")
    listen.add_argument("--to", metavar="DIR", type=Path, help="default: outputs/data/DATA_AUGMENT")
    listen.set_defaults(run=run_listen)


def run_summary(chosen: argparse.Namespace) -> None:
    """Print tables and write the page; or print JSON."""
    overrides, paths = split_words(chosen.words)
    look = look_at_paths(paths) if paths else look_at_corpus(overrides)
    if not len(look.summary.seconds):
        raise InputError(f"{look.source}: holds no utterance")
    if chosen.json:
        print(json.dumps(look.facts(), indent=2, ensure_ascii=False))
        return

    from speakerlab.cli.tables import show, text_table
    from speakerlab.reports.summary import group_rows, left_out_rows, overview, spreads, write_summary

    folder = chosen.to or default_folder(look.name)
    page = write_summary(folder, look)
    parts = [text_table(look.name, {name: {"": value} for name, value in overview(look).items()}, ("",))]
    parts.append(text_table("spread", spreads(look)))
    groups = {
        f"{name}: {value}": cells
        for name, values in look.summary.groups.items()
        for value, cells in group_rows(name, values).items()
    }
    parts.append(text_table("groups", groups))
    if look.left_out:
        parts.append(text_table("left out", left_out_rows(look), ("such as",)))
    show(*parts, *look.notes, f"page     {page}", f"figure   {folder / 'plots/summary.png'}")


def run_listen(chosen: argparse.Namespace) -> None:
    """Write sounds, pictures and the page; print what was done to each item."""
    for option in ("count", "epoch"):
        least = 1 if option == "count" else 0
        if getattr(chosen, option) < least:
            raise InputError(f"--{option} {getattr(chosen, option)} must be at least {least}")
    overrides, paths = split_words(chosen.words)
    if paths:
        raise InputError(f"{paths[0]} is no KEY=VALUE; a folder is given as data=folder data.root={paths[0]}")

    from omegaconf import OmegaConf

    from speakerlab.cli.launch import compose, trusted_on_command_line
    from speakerlab.cli.tables import show, text_table
    from speakerlab.reports.listen import write_listening

    cfg, choices = compose("train", overrides)
    samples = _samples(cfg, trusted_on_command_line(overrides), chosen)
    name = f"{corpus_name(cfg, choices)}_{choices['augment']}" + ("_each" if chosen.each else "")
    folder = chosen.to or default_folder(name)
    facts = {
        "corpus": corpus_name(cfg, choices),
        "augment": choices["augment"],
        "overrides": " ".join(overrides) or "none",
        "seed": cfg.seed,
        "epoch": chosen.epoch,
        "before": "the crop as it is read, with no augmentation",
        "after": "the crop as the features are computed from it",
        "level, difference": "root mean square of the output, and of output minus input, relative to the input's",
    }
    page = write_listening(
        folder, f"Listen: {name}", samples, cfg.loader.sample_rate, facts, OmegaConf.to_yaml(cfg.augment, resolve=True)
    )
    rows = {
        f"{number:02d}": {"item": sample.title, "applied": ", ".join(_applied(sample)) or "nothing"}
        for number, sample in enumerate(samples, start=1)
    }
    show(text_table(name, rows, ("item", "applied")), f"page     {page}")


def _samples(cfg, trust: tuple[str, ...], chosen: argparse.Namespace) -> list:
    """The items, as training with this configuration would meet them."""
    from speakerlab.build import build_corpus, build_network
    from speakerlab.cli.progress import progress_bar
    from speakerlab.reports.listen import Sample
    from speakerlab.training.assembly import build_datamodule, try_components
    from speakerlab.training.examples import each_alone, example, first_places, shown_features

    try_components(cfg, trust)
    configs = dict(each_alone(cfg)) if chosen.each else {"": cfg}
    if not configs:
        raise InputError("--each: augment has no augmentation to apply; choose another, such as augment=noise")
    with progress_bar("corpus") as progress:
        corpus = replace(build_corpus(cfg, trust, progress), development=[])  # which would be measured for nothing
    check_audio(corpus)
    features = shown_features(build_network(cfg, trust)).eval()
    modules = {label: build_datamodule(config, corpus, trust) for label, config in configs.items()}
    samples = []
    for place in first_places(next(iter(modules.values())), chosen.count, chosen.epoch):
        for label, data in modules.items():
            item = example(data, features, place)
            heading = f"{label}: speaker {item.speaker}" if label else f"speaker {item.speaker}"
            facts = {"utterance": item.utterance, "place": f"epoch {place.key[0]}, position {place.key[1]}"}
            if item.faults:
                facts["replaces"] = "; ".join(item.faults)
            samples.append(Sample(heading, facts, item.trace))
    return samples


def _applied(sample) -> list[str]:
    return [step.chosen or step.name for step in sample.trace.steps if step.applied]


def split_words(words: list[str]) -> tuple[list[str], list[str]]:
    """Overrides and paths, of which only one kind may be given; `~key`, which takes a key away, is an override.

    >>> split_words(["data=mini", "~logger"]), split_words(["/a=b", "c.parquet"])
    ((['data=mini', '~logger'], []), ([], ['/a=b', 'c.parquet']))
    """
    bare = [word for word in words if not word.startswith(("/", ".", "~/"))]
    overrides = [word for word in bare if "=" in word or word.startswith("~")]
    paths = [word for word in words if word not in overrides]
    if overrides and paths:
        raise InputError(
            f"{paths[0]} is a path and {overrides[0]} an override: give paths alone, or the folder as "
            f"data=folder data.root={paths[0]}"
        )
    return overrides, paths


def default_folder(name: str) -> Path:
    """`outputs/data/NAME`, whatever the name holds.

    >>> default_folder("a/b + c").as_posix()
    'outputs/data/a_b_c'
    """
    return Path("outputs", "data", re.sub(r"[^\w.-]+", "_", name))
