"""What is known of the shipped configs without reading them as configs."""

from speakerlab.shipped import known_targets, nearest


def test_known_targets_are_those_of_conf():
    assert "speakerlab.losses.aam.AamSoftmax" in known_targets()
    assert not [target for target in known_targets() if "*" in target]


def test_nearest():
    assert nearest("chanels", ["channels", "scale"]) == "; did you mean channels?"
    assert nearest("zzz", ["channels"]) == ""
