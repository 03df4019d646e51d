"""The recordings of the corpus `mini`, written by this process or by several.

Workers are plain subprocesses of this module (`python -m`), which load NumPy, SciPy's transforms and nothing slow:
keep the imports so. `multiprocessing` would have each of them import the user's main script again (spawn, forkserver:
seconds of torch; an endless loop where the script has no `__main__` guard), or fork a process that may hold threads and
a GPU.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from queue import SimpleQueue
from subprocess import PIPE, Popen

import numpy as np
import soundfile

from speakerlab import InputError
from speakerlab.data.synthesis.channel import draw_channel, record
from speakerlab.data.synthesis.layout import MiniLayout, speaker_gender
from speakerlab.data.synthesis.phonemes import draw_sentence
from speakerlab.data.synthesis.rendering import SAMPLE_RATE, Glottis, Zeros, render
from speakerlab.data.synthesis.voice import Delivery, Voice, control_tracks, draw_delivery, draw_voice


def write_speakers(root: Path, layout: MiniLayout, workers: int) -> Iterator[int]:
    """Write all recordings below `root`; yields each speaker's number when that speaker is done.

    Raises:
        InputError: if a worker process can't write.
        RuntimeError: if one dies.
    """
    workers = min(workers, len(layout.speakers))
    if workers > 1:
        yield from _write_in_workers(root, layout, workers)
        return
    for speaker in layout.speakers:
        write_speaker(root, layout, speaker)
        yield speaker


def write_speaker(root: Path, layout: MiniLayout, speaker: int) -> None:
    """All of one speaker's recordings, 16-bit FLAC at 16 kHz."""
    # Keys have four numbers, and sessions and utterances count from 1: NumPy takes [1, 2] and [1, 2, 0, 0] as the same.
    voice = draw_voice(np.random.default_rng([layout.seed, speaker, 0, 0]), speaker_gender(speaker))
    for session, utterance in layout.files(speaker):
        session_rng = np.random.default_rng([layout.seed, speaker, session, 0])
        rng = np.random.default_rng([layout.seed, speaker, session, utterance])
        channel, delivery = draw_channel(session_rng), draw_delivery(session_rng, rng)
        recording = record(speak(voice, delivery, rng), channel, level_db=1.5 * delivery.effort, rng=rng)
        path = root / layout.file(speaker, session, utterance)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, recording, SAMPLE_RATE, subtype="PCM_16")


def speak(voice: Voice, delivery: Delivery, rng: np.random.Generator) -> np.ndarray:
    """Clean speech of some 2.5 to 4.5 s, (samples,) float32 at 16 kHz: a random sentence in this voice."""
    sentence = draw_sentence(rng, rng.uniform(2.3, 4.0), voice.rate * delivery.rate)
    tracks = control_tracks(voice, delivery, sentence, rng)
    glottis = Glottis(
        # A raised voice closes the glottis sooner and harder.
        open_quotient=float(np.clip(voice.open_quotient - 0.03 * delivery.effort, 0.4, 0.85)),
        tilt_db=float(np.clip(voice.tilt_db - 1.5 * delivery.effort, 1.0, 20.0)),
        jitter=voice.jitter,
        shimmer=voice.shimmer,
    )
    zeros = Zeros(voice.nasal_zero_hz, voice.nasal_pole_hz, voice.fossa_zero_hz, voice.fossa_width_hz)
    return render(tracks, glottis, zeros, rng)


def serve(root: Path, layout: MiniLayout) -> None:
    """A worker: answers each speaker's number on stdin, one a line, with a line on stdout when that is written.

    It ends with stdin, so that a killed parent leaves no process behind.
    """
    for line in sys.stdin:
        try:
            write_speaker(root, layout, int(line))
        except (OSError, soundfile.SoundFileError) as error:  # a full disk, a folder without rights
            print(f"{root}: can't be written ({' '.join(str(error).split())})", flush=True)
        else:
            print("done", flush=True)


def _write_in_workers(root: Path, layout: MiniLayout, workers: int) -> Iterator[int]:
    package_root = str(Path(__file__).parents[3])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    # One thread each: the workers are the parallelism.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__, str(root), *map(str, astuple(layout))]
    processes = [Popen(command, stdin=PIPE, stdout=PIPE, text=True, env=environment) for _ in range(workers)]
    idle: SimpleQueue[Popen] = SimpleQueue()
    for process in processes:
        idle.put(process)

    def write(speaker: int) -> int:
        process = idle.get()
        try:
            print(speaker, file=process.stdin, flush=True)
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        idle.put(process)
        if answer not in ("", "done\n"):
            raise InputError(f"{answer.strip()}; make room, or set cache_dir to another folder")
        if answer != "done\n":
            raise RuntimeError(f"the process that synthesised speaker {speaker} died; its message is on stderr")
        return speaker

    with ThreadPoolExecutor(workers) as threads:
        try:
            yield from (done.result() for done in as_completed([threads.submit(write, n) for n in layout.speakers]))
        finally:
            for process in processes:
                process.kill()
            threads.shutdown(cancel_futures=True)
            for process in processes:
                process.communicate()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # Ctrl-C reaches the whole group; the parent reports it
        serve(Path(sys.argv[1]), MiniLayout(*map(int, sys.argv[2:])))
