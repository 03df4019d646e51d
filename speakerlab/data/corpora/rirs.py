"""Room impulse responses and noises, OpenSLR 28 (Ko et al., 2017).

    RIRS_NOISES/simulated_rirs/smallroom/Room001/Room001-00001.wav
    RIRS_NOISES/real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1_far_angla.wav
    RIRS_NOISES/real_rirs_isotropic_noises/RVB2014_type1_noise_largeroom1_1.wav
    RIRS_NOISES/pointsource_noises/noise-free-sound-0000.wav

The folder of real responses holds noises too, which would ruin speech that is convolved with them: their splits differ.
"""

from pathlib import Path

from speakerlab.data.prepare.described import Recording, Speaker

LAYOUT = "RIRS_NOISES/[simulated_rirs/SIZE/ROOM|real_rirs_isotropic_noises|pointsource_noises]/FILE.wav"
AUGMENT = {"augment.rir_dir": "simulated_rirs", "augment.noise_dir": "pointsource_noises"}
FOLDERS = ("simulated_rirs", "real_rirs_isotropic_noises", "pointsource_noises")


def describe(path: str) -> Recording | None:
    """The columns that a path tells; the session is the room where there is one.

    >>> describe("RIRS_NOISES/simulated_rirs/smallroom/Room001/Room001-00001.wav")[:4]
    ('simulated_rirs/smallroom/Room001/Room001-00001', '', 'smallroom/Room001', 'simulated_rirs')
    """
    parts = path.split("/")
    start = next((place for place, part in enumerate(parts[:-1]) if part in FOLDERS), None)
    if start is None:
        return None
    split = parts[start]
    if split == "real_rirs_isotropic_noises":
        split = "isotropic_noises" if "noise" in parts[-1].lower() else "real_rirs"
    return Recording("/".join(parts[start:]).rpartition(".")[0], "", "/".join(parts[start + 1 : -1]), split)


def read_speakers(folder: Path) -> dict[str, Speaker]:
    """None."""
    return {}
