from speakerlab.reports.environment import in_words, versions

ENVIRONMENT = {
    "started": "2026-01-31T12:00:00",
    "platform": "Linux",
    "cpus": 2,
    "speakerlab": "1.0",
    "git": {"commit": "0123456789abcdef", "changed": True},
    "libraries": {"torch": "2.11.0", "optuna": None},
    "python": "3.11",
}


def test_what_is_known_is_said():
    facts = in_words(ENVIRONMENT | {"processes": 2, "device": "H100", "precision": "bf16-mixed"})
    assert facts == {
        "started": "2026-01-31T12:00:00",
        "machine": "Linux, 2 CPUs",
        "computed on": "2 x H100, bf16-mixed",
        "speakerlab": "1.0 commit 0123456789 with uncommitted changes",
    }
    assert versions(ENVIRONMENT) == "python 3.11\ntorch 2.11.0"
    assert in_words(ENVIRONMENT | {"git": None})["speakerlab"] == "1.0"
    assert "computed on" not in in_words(ENVIRONMENT)
