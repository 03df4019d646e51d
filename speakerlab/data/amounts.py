"""Numbers for people: counts, durations and sizes in words."""


def counted(count: int, noun: str) -> str:
    """The count with its noun.

    >>> counted(1, "file"), counted(1200, "audio file")
    ('1 file', '1,200 audio files')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Hours, or minutes or seconds where there is not one.

    >>> duration(7_200_000), duration(600), duration(5)
    ('2,000.0 h', '10.0 min', '5.0 s')
    """
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


def size(count: float) -> str:
    """Bytes in powers of 1000.

    >>> size(10737418240), size(999)
    ('10.7 GB', '999 B')
    """
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"
