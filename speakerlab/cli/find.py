"""`speakerlab find`: a learning rate or a batch size, by short trials with train.py's own configuration.

speakerlab find rate model=ecapa loss=aam
speakerlab find batch_size model=resnet34 trainer=gpu loader.crop_seconds=3
"""

import argparse
from pathlib import Path

from speakerlab import InputError

WORDS = "overrides of train.py's configuration, such as model=ecapa data=folder data.root=/data/voices"


def add_commands(commands: argparse._SubParsersAction) -> None:
    family = commands.add_parser("find", help="a learning rate or a batch size, by short trials")
    kinds = family.add_subparsers(metavar="WHAT", required=True)
    rate = kinds.add_parser(
        "rate",
        help="learning-rate range test",
        description="Train some steps while the learning rate rises, and suggest the rate at which the loss falls "
        "most steeply. Nothing is kept but the figure.",
    )
    rate.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=WORDS)
    rate.add_argument("--from", dest="lowest", type=float, default=1e-6, metavar="RATE")
    rate.add_argument("--to", dest="highest", type=float, default=1.0, metavar="RATE")
    rate.add_argument("--steps", type=int, default=100)
    rate.add_argument("--figure", type=Path, default=Path("outputs/find/rate.png"), metavar="FILE.png")
    rate.set_defaults(run=find_rate)
    size = kinds.add_parser(
        "batch_size",
        help="speed and memory of larger and larger batches",
        description="Train some steps with batches that double in size, as long as they fit into memory, and print "
        "speed and peak memory of each.",
    )
    size.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=WORDS)
    size.add_argument("--most", type=int, default=1024, metavar="N", help="largest batch to try (default 1024)")
    size.set_defaults(run=find_batch_size)


def _prepared(overrides: list[str]) -> tuple:
    """The checked config, the corpus and what the user trusts."""
    from speakerlab.build import build_corpus
    from speakerlab.cli.launch import compose, quiet_logging, trusted_on_command_line
    from speakerlab.cli.progress import progress_bar
    from speakerlab.training.assembly import try_components
    from speakerlab.training.hardware import prepare_cpu

    trust = trusted_on_command_line(overrides)
    cfg, _ = compose("train", overrides)
    quiet_logging()
    prepare_cpu(cfg.threads, cfg.keep_memory)
    try_components(cfg, trust)
    with progress_bar("corpus") as progress:
        return cfg, build_corpus(cfg, trust, progress), trust


def find_rate(arguments: argparse.Namespace) -> None:
    """Run the range test, draw it, print the suggestion."""
    if not 0 < arguments.lowest < arguments.highest < float("inf"):
        raise InputError(f"--from {arguments.lowest:g} --to {arguments.highest:g}: rates must be positive and rise")
    if arguments.steps < 20:
        raise InputError(f"--steps {arguments.steps} must be at least 20 to see a slope")
    cfg, corpus, trust = _prepared(arguments.overrides)

    from speakerlab.cli.tables import show
    from speakerlab.reports.range_test import draw_range_test
    from speakerlab.training.finding import range_test

    found = range_test(cfg, corpus, arguments.lowest, arguments.highest, arguments.steps, trust)
    figure = draw_range_test(found.rates, found.losses, found.suggested, arguments.figure.with_suffix(""))
    show(
        f"{len(found.rates)} steps, loss {found.losses[0]:.2f}, at its lowest {min(found.losses):.2f}",
        f"figure   {figure}",
        f"steepest at optimizer.lr={found.suggested:.2g}",
    )


def find_batch_size(arguments: argparse.Namespace) -> None:
    """Try sizes, print a row for each and the two that matter."""
    cfg, corpus, trust = _prepared(arguments.overrides)

    from speakerlab.cli.tables import show, text_table
    from speakerlab.training.finding import batch_sizes, size_key

    key = size_key(cfg)
    fits = []
    for fit in batch_sizes(cfg, corpus, arguments.most, trust):
        fits.append(fit)
        print(f"sampler.{key}={fit.size}: {fit.items_per_second:.1f} items/s, {fit.memory / 1e9:.2f} GB", flush=True)
    if not fits:
        raise InputError(f"not even an eighth of sampler.{key}={cfg.sampler[key]} fits into memory")
    rows = {
        str(fit.size): {"items/s": f"{fit.items_per_second:.1f}", "memory": f"{fit.memory / 1e9:.2f} GB"}
        for fit in fits
    }
    fastest = max(fits, key=lambda fit: fit.items_per_second)
    show(
        text_table(f"sampler.{key}", rows),
        f"fastest sampler.{key}={fastest.size}, largest that was tried and fits {fits[-1].size}",
    )
