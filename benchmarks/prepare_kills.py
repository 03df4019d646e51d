"""`speakerlab prepare` killed with SIGKILL at ten random moments ends with the manifest of an undisturbed run.

    python benchmarks/prepare_kills.py --work DIR [--seed 1]

The embedded corpus in VoxCeleb2's layout, AAC encoded, zipped and cut into parts, lies on an HTTP host on loopback;
the command downloads, unpacks, converts to FLAC, decodes and writes. Two moments are drawn in each stage, each where a
random share of that stage is done. Writes benchmarks/prepare_kills_<date>.md.
"""

import argparse
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from hosts import Host, serve  # noqa: E402
from trees import host_voxceleb, voxceleb  # noqa: E402

from speakerlab.data.manifest import read_manifest  # noqa: E402
from speakerlab.data.synthesis.layout import DEFAULT_LAYOUT, MiniLayout  # noqa: E402

RESULTS = ("manifest.parquet", "manifest.arrow", "rejected.csv", "speakers.csv")
STAGES = ("download", "unpack", "convert", "decode", "write")
BYTES_A_SECOND = 4e6  # of each connection, so that a download takes a while


def build(work: Path, layout: MiniLayout) -> tuple[Path, dict[str, int]]:
    """The host's folder and the sources' template, and how much there is of each stage's work."""
    tree = work / "tree"
    paths = voxceleb(tree, work / "cache", 2, layout)
    broken = random.Random(0).sample(paths, max(1, len(paths) // 100))  # so that there is something to reject
    for path in broken:
        os.truncate(tree / path, (tree / path).stat().st_size // 3)
    hosted = host_voxceleb(tree, work / "host", 2, parts=6)
    hosted.write(work / "hosted.yaml", "URL")
    total = sum(path.stat().st_size for path in hosted.folder.iterdir())
    counts = {"download": total, "unpack": len(paths), "convert": len(paths), "decode": len(paths) - len(broken)}
    return work / "hosted.yaml", counts


def command(to: Path, sources: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "speakerlab.cli.main", "prepare", "voxceleb2", "--to", str(to)),
        *("--sources", str(sources), "--format", "flac", "--workers", "2", "--max-bad-share", "0.05"),
    ]


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def measures(to: Path, began: float) -> dict[str, Callable[[], float]]:
    """How much of each stage is done, seen from outside; the last stage is over in a blink: 0 to 1 is 50 ms."""
    state = to / ".prepare"

    def files(folder: Path, suffix: str) -> int:
        return sum(name.endswith(suffix) and not name.startswith(".") for _, _, n in os.walk(folder) for name in n)

    def written() -> float:
        path = to / "rejected.csv"
        fresh = path.is_file() and path.stat().st_mtime > began
        return (time.time() - path.stat().st_mtime) / 0.05 if fresh else -1.0

    return {
        "download": lambda: (
            sum(path.stat().st_size for path in (to / "downloads").glob("*") if path.exists())
            + sum(path.stat().st_size for path in (to / "downloads").glob(".*.part") if path.exists())
        ),
        "unpack": lambda: files(to / "extracted", ".m4a"),
        "convert": lambda: lines_of(state / "flac.jsonl"),
        "decode": lambda: lines_of(state / "examined.jsonl"),
        "write": written,
    }


def run_until(arguments: list[str], reached: Callable[[], bool]) -> tuple[int, float]:
    """Start the command and SIGKILL it once `reached`; its exit status (-9 if it was killed) and its seconds."""
    began = time.monotonic()
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            now = reached()
        except OSError:  # a file was renamed in the middle of the look
            continue
        if now:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.001)
    return process.wait(), time.monotonic() - began


def results(to: Path) -> dict[str, bytes]:
    return {name: (to / name).read_bytes() for name in RESULTS}


def moments(seed: int) -> list[tuple[str, float]]:
    """Two in each stage, in order: (stage, share of it that is done)."""
    draw = random.Random(seed)
    return [(stage, share) for stage in STAGES for share in sorted((draw.random(), draw.random()))]


def kill_ten_times(to: Path, arguments: list[str], counts: dict[str, int], seed: int) -> list[str]:
    """Rows of the report; the command is started anew after each kill."""
    rows = []
    for number, (stage, share) in enumerate(moments(seed), start=1):
        measure = measures(to, time.time())[stage]
        target = share * counts.get(stage, 1)
        code, seconds = run_until(arguments, lambda measure=measure, target=target: measure() >= target)
        assert code == -signal.SIGKILL, f"{stage} at {share:.2f}: the command ended by itself with {code}"
        done = {name: look() for name, look in measures(to, 0.0).items()}
        parts = [f"{100 * min(done[name] / counts[name], 1):.0f} %" for name in STAGES[:-1]]
        rows.append(f"| {number} | {stage}, {100 * share:.0f} % | {seconds:.1f} | {' | '.join(parts)} |")
        print(rows[-1], flush=True)
    return rows


def report(arguments: argparse.Namespace, rows: list[str], facts: dict[str, str]) -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    libraries = ", ".join(f"{name} {version(name)}" for name in ("av", "soundfile", "pyarrow", "requests"))
    header = "| kill | in stage, at | seconds this run lasted | downloaded | unpacked | converted | decoded |"
    lines = [
        f"# `speakerlab prepare` killed ten times, {date.today()}",
        "",
        f"{facts['files']} files in VoxCeleb2's layout, AAC, {facts['broken']} of them cut off: {facts['size']} in six "
        f"parts and an archive on a loopback host, {BYTES_A_SECOND / 1e6:g} MB/s a connection. The command was "
        "killed with SIGKILL at the moments below and started again each time, in the same folder. Shares are what lay "
        "on the disk after the kill.",
        "",
        f"`python benchmarks/prepare_kills.py --work DIR --seed {arguments.seed}`",
        "",
        header,
        "|" + "---|" * 7,
        *rows,
        "",
        f"After the eleventh run **{facts['same']}** the undisturbed run's, byte for byte: {facts['rows']}.",
        f"Undisturbed: {facts['undisturbed']}. The eleven runs together: {facts['killed']}.",
        f"Sent by the host: {facts['sent']}. Conversions: {facts['conversions']}.",
        "",
        f"Machine: {platform.platform()}, {os.cpu_count()} CPUs, shared with other work. Commit {commit.strip()}. "
        f"Python {platform.python_version()}, {libraries}.",
        "",
    ]
    return "\n".join(lines)


def measure(arguments: argparse.Namespace, host: Host, template: Path, counts: dict[str, int]) -> str:
    to = arguments.work / "to"
    sources = arguments.work / "sources.yaml"
    sources.write_text(template.read_text().replace("URL", host.url))
    code, seconds = run_until(command(to, sources), lambda: False)
    assert code == 0
    expected, first_sent = results(to), host.sent
    shutil.rmtree(to)
    began = time.monotonic()
    rows = kill_ten_times(to, command(to, sources), counts, arguments.seed)
    code, _ = run_until(command(to, sources), lambda: False)
    assert code == 0
    killed = time.monotonic() - began
    same = results(to) == expected
    table = read_manifest(to / "manifest.parquet")
    rejected = lines_of(to / "rejected.csv") - 1
    facts = {
        "broken": str(counts["convert"] - counts["decode"]),
        "files": f"{counts['convert']:,}",
        "size": f"{counts['download'] / 1e6:.1f} MB",
        "same": "all four results equal" if same else "THE RESULTS DIFFER FROM",
        "rows": f"{', '.join(RESULTS)}; {table.num_rows:,} utterances, {rejected} rejected",
        "undisturbed": f"{seconds:.1f} s",
        "killed": f"{killed:.1f} s",
        "sent": f"{first_sent / 1e6:.1f} MB to the first run, {(host.sent - first_sent) / 1e6:.1f} MB to the others",
        "conversions": f"{lines_of(to / '.prepare/flac.jsonl'):,} recorded for {counts['convert']:,} files",
    }
    text = report(arguments, rows, facts)
    assert same, text
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="28 files, to try the script")
    arguments = parser.parse_args()
    layout = MiniLayout(3, 4, 2, 2) if arguments.small else DEFAULT_LAYOUT
    template, counts = build(arguments.work, layout)
    with serve(arguments.work / "host", slow=BYTES_A_SECOND) as host:
        text = measure(arguments, host, template, counts)
    print(text)
    if not arguments.small:
        (ROOT / "benchmarks" / f"prepare_kills_{date.today()}.md").write_text(text)


if __name__ == "__main__":
    main()
