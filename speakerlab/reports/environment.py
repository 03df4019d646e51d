"""By which versions of what, and on which machine, something was computed."""

from collections.abc import Mapping


def in_words(environment: Mapping) -> dict[str, str]:
    """What `environment.json` of a run says, for a table.

    Args:
        environment: with `started`, `platform`, `cpus`, `speakerlab` and `git`; `processes`, `device` and `precision`
            where they are known.
    """
    facts = {
        "started": environment["started"],
        "machine": f"{environment['platform']}, {environment['cpus']} CPUs",
    }
    if "device" in environment:
        of = environment
        facts["computed on"] = f"{of['processes']} x {of['device']}, {of['precision']}"
    facts["speakerlab"] = f"{environment['speakerlab']} {_commit(environment['git'])}".strip()
    return facts


def versions(environment: Mapping) -> str:
    """The libraries that were there, a line each; for a folded part of a page."""
    there = {"python": environment["python"]} | environment["libraries"]
    return "\n".join(f"{name} {version}" for name, version in there.items() if version)


def _commit(git: Mapping | None) -> str:
    if git is None:
        return ""
    return f"commit {git['commit'][:10]}" + (" with uncommitted changes" if git["changed"] else "")
