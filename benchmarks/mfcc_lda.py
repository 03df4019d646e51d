"""Reference for the real-speech benchmark: MFCC statistics and linear discriminant analysis, no network.

    python benchmarks/mfcc_lda.py --speech DIR

Mean and standard deviation of 20 MFCCs and their deltas over each training file, LDA over the training speakers,
cosine of the projections. DIR holds train/so762, train/librispeech and trials/dev_so762.txt.
"""

import argparse
from pathlib import Path

import librosa
import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

from speakerlab.data.audio import read_audio
from speakerlab.data.trials import locate_utterances, read_trials
from speakerlab.inference.evaluation import trial_metrics
from speakerlab.scoring.cosine import cosine_scores

SECONDS = 4.0  # long training files are cut into pieces of about the length of the trials' files


def statistics(waveform: np.ndarray) -> np.ndarray:
    """`(samples,) -> (80,)`: mean and deviation of 20 MFCCs and of their deltas."""
    mfcc = librosa.feature.mfcc(y=waveform, sr=16000, n_mfcc=20, n_fft=512, win_length=400, hop_length=160)
    values = np.concatenate([mfcc, librosa.feature.delta(mfcc)])
    return np.concatenate([values.mean(axis=1), values.std(axis=1)])


def training_set(speech: Path) -> tuple[np.ndarray, np.ndarray]:
    """Statistics `(pieces, 80)` and speakers `(pieces,)` of the training files, cut into pieces."""
    rows, speakers = [], []
    for corpus in ("so762", "librispeech"):
        root = speech / "train" / corpus
        for file in sorted(root.rglob("*.flac")):
            waveform = read_audio(file)
            for piece in np.array_split(waveform, max(1, round(len(waveform) / 16000 / SECONDS))):
                rows.append(statistics(piece))
                speakers.append(f"{corpus}/{file.relative_to(root).parts[0]}")
    return np.array(rows), np.array(speakers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[20, 40, 60])
    arguments = parser.parse_args()
    rows, speakers = training_set(arguments.speech)
    trials = read_trials(arguments.speech / "trials" / "dev_so762.txt")
    files = locate_utterances(trials, [arguments.speech])
    utterances = np.array([statistics(read_audio(file)) for file in files])

    scaler = StandardScaler().fit(rows)
    for dimensions in arguments.dimensions:
        lda = LinearDiscriminantAnalysis(n_components=dimensions).fit(scaler.transform(rows), speakers)
        embeddings = lda.transform(scaler.transform(utterances))
        metrics = trial_metrics(trials, cosine_scores(embeddings, trials.enrol, trials.test), draws=1000)
        print(
            f"{len(rows)} pieces of {len(set(speakers))} speakers, {dimensions} dimensions: "
            f"EER {100 * metrics['eer']:.2f} % (95 % interval over speakers {100 * metrics['eer_low']:.2f} to "
            f"{100 * metrics['eer_high']:.2f}), minDCF(0.01) {metrics['min_dcf_0.01']:.3f}, "
            f"minDCF(0.05) {metrics['min_dcf_0.05']:.3f}"
        )


if __name__ == "__main__":
    main()
