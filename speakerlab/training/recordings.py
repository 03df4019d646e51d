"""The audio that training reads, from files or a cache, of as much of the corpus as is trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from omegaconf import DictConfig

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.corpus import Corpus
from speakerlab.data.fraction import fraction_of_shards, fraction_rows
from speakerlab.data.manifest import speaker_classes
from speakerlab.data.pcm import cache_pcm
from speakerlab.data.recordings import AudioFiles, Recordings
from speakerlab.data.shards.index import Shards
from speakerlab.ranks import rank


def training_recordings(cfg: DictConfig, corpus: Corpus, progress: Progress | None) -> tuple[Corpus, Recordings | None]:
    """The training audio, and the corpus without the rows that have none, or that `data.fraction` spares; shards are
    read by their own dataset, and saved embeddings have none."""
    if isinstance(corpus.train, Shards) or corpus.saved is not None:
        if cfg.loader.cache is not None:
            data = "shards" if corpus.saved is None else "embeddings"
            raise InputError(f"loader.cache={cfg.loader.cache} does not go with data={data}; set loader.cache=null")
        if corpus.fraction < 1 and isinstance(corpus.train, Shards):
            index = fraction_of_shards(corpus.train.index, corpus.fraction, cfg.seed)
            corpus = _lessened(corpus, replace(corpus.train, index=index))
        elif corpus.fraction < 1:
            corpus = _lessened(corpus, corpus.train.take(_kept(cfg, corpus)))
        return corpus, None
    if cfg.loader.cache is None:
        if corpus.fraction < 1:
            corpus = _lessened(corpus, corpus.train.take(_kept(cfg, corpus)))
        return corpus, AudioFiles(corpus.train, cfg.loader.sample_rate)
    recordings = cache_pcm(
        corpus.train,
        cfg.loader.sample_rate,
        Path(cfg.cache_dir).expanduser(),
        cfg.loader.max_bad_share,
        # A resumed run, and the further processes of this one, need the utterances that it began with.
        mend=cfg.ckpt is None and rank() == 0,
        progress=progress,
    )
    bad = corpus.train.num_rows - len(recordings.rows)
    note = f"pcm cache: {len(recordings.rows):,} utterances in {recordings.folder}"
    if bad:
        note += f"; left out {bad} that can't be read, listed in {recordings.left_out}"
        corpus = replace(corpus, train=corpus.train.take(recordings.rows))
    corpus = replace(corpus, notes=(*corpus.notes, note))
    if corpus.fraction < 1:
        rows = _kept(cfg, corpus)
        corpus, recordings = _lessened(corpus, corpus.train.take(rows)), recordings.only(rows)
    return corpus, recordings


def _kept(cfg: DictConfig, corpus: Corpus) -> NDArray[np.int64]:
    return fraction_rows(speaker_classes(corpus.train, corpus.speakers), corpus.fraction, cfg.seed)


def _lessened(corpus: Corpus, train: pa.Table | Shards) -> Corpus:
    """The corpus with this part of its training data, and a line about it."""
    note = f"data.fraction={corpus.fraction:g}: training on {len(train):,} of {corpus.utterances:,} utterances"
    return replace(corpus, train=train, notes=(*corpus.notes, note))
