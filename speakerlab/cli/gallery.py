"""`speakerlab enroll`, `identify`, `speakers`, `forget`: who is it?

speakerlab enroll anna anna1.wav anna2.wav --model best.ckpt
speakerlab identify call.wav                                   # the gallery knows its model
speakerlab speakers
speakerlab forget anna
"""

import argparse
import sys

from speakerlab.cli.chosen_model import (
    GALLERY_HELP,
    add_gallery_option,
    add_model_options,
    chosen_gallery,
    load_chosen,
    model_facts,
    print_json,
    say,
    tell,
)
from speakerlab.cli.decision import add_decision_options, numbers_of, score_words, status_of, threshold_words
from speakerlab.cli.embed import recordings_in

ENROLL_STATUSES = """
exit status:
  0  all files are enrolled
  1  some could not be used, a line each says why, and the others are enrolled; or
     something given is wrong
"""


def add_commands(commands) -> None:
    """Add `enroll`, `identify`, `speakers` and `forget`."""
    enroll = commands.add_parser(
        "enroll",
        help="add recordings of a speaker to the gallery",
        description="Add recordings of a speaker to the gallery: those that are not there yet.\n"
        "They are on the disk when this ends, and several processes may enrol at once.",
    )
    enroll.add_argument("name", metavar="NAME", help="of the speaker; one who is known gets further recordings")
    enroll.add_argument("files", nargs="+", metavar="FILE", help="recordings of this voice alone, or folders")
    add_model_options(enroll, with_gallery=True)
    _add_json(enroll)
    enroll.epilog += ENROLL_STATUSES
    enroll.set_defaults(run=run_enroll)
    identify = commands.add_parser(
        "identify",
        help="who of the enrolled speakers is it?",
        description="Name the enrolled speakers who are nearest to a recording, and say whether it is\n"
        "one of them at all.",
    )
    identify.add_argument("file", metavar="FILE", help="a recording")
    identify.add_argument("--top", type=int, default=5, metavar="N", help="speakers to name (default: 5)")
    add_model_options(identify, with_gallery=True)
    add_decision_options(identify, "below which it is a stranger", "an enrolled speaker", "a stranger")
    _add_json(identify)
    identify.set_defaults(run=run_identify)
    speakers = commands.add_parser("speakers", help="who is enrolled", description="List the enrolled speakers.")
    speakers.set_defaults(run=run_speakers)
    forget = commands.add_parser(
        "forget",
        help="remove a speaker from the gallery",
        description="Remove a speaker from the gallery; the embeddings are overwritten on the disk.",
    )
    forget.add_argument("name", metavar="NAME", help="of the speaker")
    forget.set_defaults(run=run_forget)
    for parser in (speakers, forget):
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        add_gallery_option(parser)
        _add_json(parser)
        parser.epilog = GALLERY_HELP


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_enroll(chosen: argparse.Namespace) -> None:
    """Enrol; print what was added."""
    from speakerlab.inference.gallery import checked_name

    checked_name(chosen.name)  # before a model is loaded
    path = chosen_gallery(chosen)
    recognizer = load_chosen(chosen, path)
    found = recognizer.enroll(chosen.name, recordings_in(chosen.files))
    total = next(one.recordings for one in recognizer.gallery.speakers() if one.name == found.name)
    for file, fault in found.faults.items():
        tell(f"not enrolled: {file}: {fault}")
    say(f"{file}: {note}" for file, notes in found.notes.items() for note in notes)
    if chosen.json:
        print_json(
            {
                "name": found.name,
                "added": found.recordings,
                "recordings": total,
                "seconds": round(found.seconds, 3),
                "errors": found.faults,
                "notes": found.notes,
                "gallery": str(path),
                "model": model_facts(recognizer),
            }
        )
    else:
        print(f"{found.name}: {found.recordings} added, {total} in all ({path})")
    sys.exit(1 if found.faults else 0)


def run_identify(chosen: argparse.Namespace) -> None:
    """Print who it is; exit with it."""
    path = chosen_gallery(chosen)
    recognizer = load_chosen(chosen, path)
    found = recognizer.identify(chosen.file, chosen.top, chosen.threshold, chosen.p_target)
    say(f"{chosen.file}: {note}" for note in found.notes)
    decision = None if found.threshold is None else found.accepted is not None
    if chosen.json:
        candidates = [{"name": one.name, **numbers_of(one)} for one in found.candidates]
        facts = {"file": chosen.file, "accepted": found.accepted, "threshold": found.threshold}
        facts |= {"candidates": candidates, "notes": found.notes, "gallery": str(path)}
        print_json({**facts, "model": model_facts(recognizer)})
    else:
        print({True: found.accepted, False: "a stranger", None: "no decision"}[decision])
        width = max(len(one.name) for one in found.candidates)
        for one in found.candidates:
            print(f"  {one.name:{width}}  {score_words(one)}")
        if found.threshold is not None:
            print(f"threshold {threshold_words(found.threshold, chosen.threshold, recognizer.card)}")
    sys.exit(status_of(decision))


def run_speakers(chosen: argparse.Namespace) -> None:
    """Print a table of everybody."""
    from speakerlab.inference.gallery import Gallery
    from speakerlab.inference.gallery_file import read_origin

    path = chosen_gallery(chosen)
    origin = read_origin(path)
    found = [] if origin is None else Gallery.at(path).speakers()
    if chosen.json:
        rows = [{**one._asdict(), "seconds": round(one.seconds, 3)} for one in found]
        print_json({"gallery": str(path), "model": origin.model if origin else None, "speakers": rows})
        return
    if not found:
        print(f"nobody is enrolled ({path})")
        return

    from speakerlab.cli.tables import show, text_table

    rows = {
        one.name: {"recordings": f"{one.recordings:,}", "seconds": f"{one.seconds:,.1f}", "since": one.since[:10]}
        for one in found
    }
    table = text_table("", rows)
    table.columns[0].no_wrap = True  # a narrow terminal leaves the names whole
    show(table, f"gallery  {path}", f"model    {origin.model or 'unknown'}")


def run_forget(chosen: argparse.Namespace) -> None:
    """Remove; print how much it was."""
    from speakerlab.inference.gallery import Gallery

    path = chosen_gallery(chosen)
    removed = Gallery.at(path).remove(chosen.name)
    if chosen.json:
        print_json({"name": chosen.name, "removed": removed, "gallery": str(path)})
    else:
        print(f"{chosen.name}: forgotten, recordings: {removed} ({path})")
