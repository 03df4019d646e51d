"""Looks at corpora: those that train.py would build, and those that lie somewhere."""

import csv
from pathlib import Path

LEFT_OUT = ("quarantine.csv", "rejected.csv")  # beside a manifest, by scanning and by preparing


def look_at_corpus(overrides: list[str]):
    """The corpus that train.py would build with these overrides, both sides of it."""
    from speakerlab.build import build_corpus
    from speakerlab.cli.launch import compose, trusted_on_command_line
    from speakerlab.cli.progress import progress_bar
    from speakerlab.data.left_out import count_left_out
    from speakerlab.data.shards.index import Shards
    from speakerlab.data.summary import Development, Look, summarize
    from speakerlab.data.utterances import measure

    cfg, choices = compose("train", overrides)
    with progress_bar("corpus") as progress:
        corpus = build_corpus(cfg, trusted_on_command_line(overrides), progress)
    check_audio(corpus)
    development, train, left_out = None, corpus.train, []
    if corpus.trials is not None:
        targets = int((corpus.trials.labels == 1).sum())
        development = Development(measure(corpus.development), targets, len(corpus.trials) - targets)
    if isinstance(train, Shards):
        train, left_out = _packed(train.index)
    source = " ".join(overrides) or "train.py's default configuration"
    name = corpus_name(cfg, choices)
    return Look(name, source, summarize(train), development, count_left_out(left_out), corpus.notes)


def check_audio(corpus) -> None:
    """InputError for a corpus of saved embeddings."""
    from speakerlab import InputError

    if corpus.saved is not None:
        raise InputError("data=embeddings has no audio to look at or listen to; take the corpus that was embedded")


def look_at_paths(paths: list[str]):
    """Manifests and prepared folders are read, shards gone through, other folders scanned as `data=folder` does, except
    that any share of files may be unusable."""
    from speakerlab.cli.manifests import is_tree, scan_trees
    from speakerlab.data.left_out import count_left_out
    from speakerlab.data.manifest import concat_manifests, manifest_at, read_manifest
    from speakerlab.data.summary import Look, summarize

    tables, names, left_out, trees = [], [], [], []
    for given in paths:
        path = Path(given).expanduser()
        if _holds_shards(given):
            table, bad = _packed(_index_of(given))
            name = path.name
        elif is_tree(path):
            trees.append(path)
            continue
        else:
            manifest = manifest_at(path)
            table, bad, name = read_manifest(manifest), _listed_beside(manifest), manifest_name(manifest)
        tables.append(table)
        names.append(name)
        left_out += bad
    if trees:
        scan = scan_trees(trees, max_bad_share=1.0)
        tables.append(scan.manifest)
        names.append(scan.name)
        left_out += scan.quarantined
    table = tables[0] if len(tables) == 1 else concat_manifests(tables)
    return Look(" + ".join(names), "  ".join(paths), summarize(table), left_out=count_left_out(left_out))


def corpus_name(cfg, choices: dict[str, str]) -> str:
    """The member of `data`; for a folder of recordings or shards, the folder's own name."""
    root = cfg.data.get("root")
    if choices["data"] not in ("folder", "shards") or root is None:
        return choices["data"]
    return " + ".join(Path(path).name for path in ([root] if isinstance(root, str) else root))


def manifest_name(path: Path) -> str:
    """A manifest's own name, or its folder's where it is called just that.

    >>> manifest_name(Path("/data/vox1/manifest.parquet")), manifest_name(Path("dev.parquet"))
    ('vox1', 'dev')
    """
    return path.absolute().parent.name if path.stem == "manifest" else path.stem


def _holds_shards(given: str) -> bool:
    from speakerlab.data.shards.index import INDEX
    from speakerlab.data.shards.transport import is_url

    path = Path(given).expanduser()
    return is_url(given) or (path / INDEX).is_file() or any(path.glob("*.tar"))


def _index_of(root: str):
    from speakerlab.cli.launch import compose
    from speakerlab.cli.progress import progress_bar
    from speakerlab.data.corpora.shards import find_index

    cfg, _ = compose("train", ["data=shards", "data.root=."])
    with progress_bar("shards", "shards") as progress:
        return find_index(root, Path(cfg.data.cache_dir).expanduser(), progress)


def _packed(index):
    """The utterances of shards as a table, and those that can't be read."""
    from speakerlab.cli.progress import progress_bar
    from speakerlab.data import usable_cpus
    from speakerlab.data.shards.contents import shard_table

    with progress_bar("labels", "shards") as progress:
        return shard_table(index, usable_cpus(), progress)


def _listed_beside(manifest: Path) -> list[tuple[str, str, str]]:
    """What the lists of left-out files beside a manifest say: (path, reason, detail)."""
    found = []
    for path in map(manifest.with_name, LEFT_OUT):
        try:
            with open(path, newline="", encoding="utf-8") as file:
                found += [(row["path"], row["reason"], row["detail"]) for row in csv.DictReader(file)]
        except (OSError, KeyError):  # there is none, or it is another program's
            continue
    return found
