"""A folder that says all of a trained model, and holds nothing that could run.

    model.safetensors   weights of the network
    config.json         what the network is built of
    card.json           what the model is, what it was trained on, its threshold and its calibration
    README.md           the card for people, and how to use the model

`speakerlab.inference.engines.torch` reads it.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save_file

from speakerlab import InputError
from speakerlab.data.manifest import sync
from speakerlab.inference.card import ModelCard
from speakerlab.inference.engines.torch import CARD, CONFIG, WEIGHTS, TorchEngine

PAGE = "README.md"


def write_folder(engine: TorchEngine, path: Path) -> None:
    """Write beside `path` and rename: a model's folder that was there before is replaced as a whole.

    Args:
        engine: the model.
        path: of the folder.

    Raises:
        InputError: if there is something else at `path`.
    """
    # Of each tensor a copy: safetensors refuses those that share memory, or lie in it in another order.
    weights = {name: value.detach().cpu().clone().contiguous() for name, value in engine.network.state_dict().items()}
    with _replacing_folder(path) as draft:
        texts = {
            CONFIG: json.dumps(engine.config, indent=1),
            CARD: engine.card.to_json(),
            PAGE: page(engine.card, path.name),
        }
        for name, text in texts.items():
            (draft / name).write_text(text, encoding="utf-8")
        save_file(weights, draft / WEIGHTS, metadata={"format": "pt"})
        shutil.copymode(draft / CARD, draft / WEIGHTS)  # safetensors lets its owner alone read it


def is_exported(path: Path) -> bool:
    """Whether a path is such a folder."""
    return (path / WEIGHTS).is_file() and (path / CARD).is_file()


def page(card: ModelCard, name: str) -> str:
    """The README: the card, what the files are, and how to use them.

    Args:
        card: of the model.
        name: of the folder.
    """
    return f"""{card.markdown().rstrip()}

## Files

| file | what it is |
|---|---|
| `{WEIGHTS}` | the network's weights |
| `{CONFIG}` | what the network is built of |
| `{CARD}` | the table above for programs, with the score calibration where there is one |

Nothing in them can run. The card's fingerprint is that of the weights and the config: a damaged or exchanged file is
refused.

## Use

With `pip install speakerlab`, in the folder that `{name}` lies in:

```python
from speakerlab.inference import SpeakerRecognizer

recognizer = SpeakerRecognizer.load("{name}")
print(recognizer.verify("a.wav", "b.wav"))
```

```sh
speakerlab verify {name} a.wav b.wav
speakerlab export {name} --to onnx
```
"""


@contextmanager
def _replacing_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path` to write into, renamed to it if all went well, removed otherwise.

    Two renames replace a folder; a kill between them leaves the old one beside its place, as `.<name>.<number>.old`.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not is_exported(path)):
        raise InputError(f"{path}: there is something else already; give another -o")
    draft, old = (path.with_name(f".{path.name}.{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    draft.mkdir(parents=True)
    try:
        yield draft
        for file in draft.iterdir():
            sync(file)
        sync(draft)
        if path.exists():
            os.replace(path, old)
        os.replace(draft, path)
        sync(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(old, ignore_errors=True)
