"""By which versions of what, and on which machine, something was computed."""

from collections.abc import Mapping


def in_words(environment: Mapping) -> dict[str, str]:
    """What `environment.json` of a run says, for a table.

    Args:
        environment: with `started`, `platform`, `cpus`, `speakerlab`, `git`, `libraries` and `python`; `processes`,
            `device` and `precision` where they are known.
    """
    facts = {
        "started": environment["started"],
        "machine": f"{environment['platform']}, {environment['cpus']} CPUs",
    }
    if "device" in environment:
        of = environment
        facts["computed on"] = f"{of['processes']} x {of['device']}, {of['precision']}"
    facts["speakerlab"] = f"{environment['speakerlab']} {_commit(environment['git'])}".strip()
    libraries = {name: version for name, version in environment["libraries"].items() if version}
    return facts | libraries | {"python": environment["python"]}


def _commit(git: Mapping | None) -> str:
    if git is None:
        return ""
    return f"commit {git['commit'][:10]}" + (" with uncommitted changes" if git["changed"] else "")
