import pytest

from speakerlab.data.corpora.rirs import describe


@pytest.mark.parametrize(
    "path, split, session",
    [
        ("simulated_rirs/smallroom/Room001/Room001-00001.wav", "simulated_rirs", "smallroom/Room001"),
        ("real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1_far_angla.wav", "real_rirs", ""),
        ("real_rirs_isotropic_noises/air_type1_air_binaural_meeting_0_1.wav", "real_rirs", ""),
        ("real_rirs_isotropic_noises/RVB2014_type1_noise_largeroom1_1.wav", "isotropic_noises", ""),
        ("pointsource_noises/noise-free-sound-0000.wav", "pointsource_noises", ""),
    ],
)
@pytest.mark.parametrize("above", ["RIRS_NOISES/", ""])
def test_paths(above, path, split, session):
    assert describe(above + path)[:4] == (path[:-4], "", session, split)


def test_rooms_of_the_same_name_differ():
    small, large = (describe(f"simulated_rirs/{size}/Room001/Room001-00001.wav") for size in ("smallroom", "largeroom"))
    assert small.utterance != large.utterance


def test_other_paths():
    assert describe("Room001-00001.wav") is None and describe("smallroom/Room001/Room001-00001.wav") is None
