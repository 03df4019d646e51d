"""What every `conf/loss/*.yaml` and `conf/regulariser/*.yaml` must do, found by globbing: a new one gets all of it with
no edit here. The arithmetic of each is tested in `tests/losses/`."""

import copy
import io
import itertools
import pickle
import re
from functools import cache

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch.nn import functional as F

from speakerlab.build import build_loss
from speakerlab.cli.launch import compose
from speakerlab.shipped import CONF

DIM, SPEAKERS = 16, 5
UTTERANCES = 4  # a speaker, side by side, as metric losses want them
CLASSES = 12  # more than a batch has, so that some are left to sample
# Options that a loss may have, each tried with every loss that has it.
OPTIONS = {
    "sampled_share": 0.6,
    "subcenters": 3,
    "top_k": 2,
    "easy_margin": True,
    "dynamic": False,
    "margin_type": "A",
    "form": "contrast",
    "mining": "all",
    "hardest_share": 0.3,
}
CASES = [
    f"{group}={path.stem}"
    for group in ("loss", "regulariser")
    for path in sorted((CONF / group).glob("*.yaml"))
    if (group, path.stem) != ("regulariser", "none")
]


@cache
def config(case: str) -> DictConfig:
    """Of what the loss is built from: the composition with this member."""
    cfg, _ = compose("train", [case])
    return OmegaConf.masked_copy(cfg, ["loss", "regulariser"])


def make(case: str, classes: int = CLASSES, **options) -> torch.nn.Module:
    cfg = copy.deepcopy(config(case))
    cfg.loss.update(options)
    torch.manual_seed(0)
    return build_loss(cfg, DIM, classes)


def batch(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of lengths around 12, and their speakers."""
    speakers = torch.tensor([3, 11, 0, 7, 2]).repeat_interleave(UTTERANCES)
    return 3.0 * torch.randn(len(speakers), DIM, generator=torch.Generator().manual_seed(seed)), speakers


def variants(case: str) -> list[dict]:
    """As the file has it, and with each option that it has turned on."""
    return [{}, *({name: value} for name, value in OPTIONS.items() if name in config(case).loss)]


def rows_of(loss: torch.nn.Module) -> torch.Tensor:
    """A vector for each class that embeddings may be equal to: the loss's own where it has some."""
    for module in loss.modules():
        for name in ("weight", "centers"):
            rows = getattr(module, name, torch.empty(0)).detach()
            if rows.shape[1:] == (DIM,):
                return rows[:: len(rows) // CLASSES]
    return torch.eye(CLASSES, DIM)


def at_the_limits(loss: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Batches with cosines of exactly 1 and -1, of embeddings with each other and with weight rows, and without any."""
    embeddings, speakers = batch()
    signs = torch.tensor([1.0, -1.0]).repeat(len(speakers) // 2)[:, None]
    own = rows_of(loss)[speakers]
    return {
        "equal": embeddings[:1].expand(len(speakers), -1),
        "opposite": signs * embeddings[:1],
        "opposite speakers": signs.sort(dim=0).values * embeddings[:1],
        "own rows": own,
        "against own rows": -5.0 * own,
        "others' rows": own.roll(UTTERANCES, dims=0),
        "zero": torch.zeros_like(embeddings),
        "some zero": embeddings * (signs > 0),
        "tiny": 1e-5 * embeddings,
        "huge": 1000.0 * embeddings,
    }


def check_step(loss: torch.nn.Module, embeddings: torch.Tensor, speakers: torch.Tensor, autocast: torch.dtype | None):
    """A training step's value and gradients are finite, and what comes out has the type and shape agreed."""
    embeddings = embeddings.clone().requires_grad_()
    loss.zero_grad()
    with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
        value, logits = loss(embeddings, speakers)
    assert value.shape == () and value.dtype == torch.float32 and value.isfinite()
    if logits is not None:
        assert logits.shape == (len(speakers), CLASSES) and logits.dtype == torch.float32
        assert not logits.requires_grad and not logits.isnan().any()
        assert logits.gather(1, speakers[:, None]).isfinite().all()
    value.backward()
    assert embeddings.grad.dtype == embeddings.dtype and embeddings.grad.isfinite().all()
    for name, parameter in loss.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_finite_at_the_limits(case):
    _, speakers = batch()
    for options in variants(case):
        loss = make(case, **options)
        for name, embeddings in at_the_limits(loss).items():
            for dtype, autocast in (
                (torch.float32, None),
                (torch.bfloat16, None),
                (torch.float16, None),
                (torch.float32, torch.bfloat16),
            ):
                try:
                    check_step(loss, embeddings.to(dtype), speakers, autocast)
                except AssertionError as error:
                    raise AssertionError(f"{options} {name} {dtype} autocast {autocast}: {error}") from error


@pytest.mark.parametrize("case", CASES)
def test_sixteen_bits_round_the_embeddings_and_nothing_else(case):
    embeddings, speakers = batch()
    for dtype in (torch.bfloat16, torch.float16):
        rounded = embeddings.to(dtype)
        expected = make(case)(rounded.float(), speakers)
        with torch.autocast("cpu", dtype):
            found = make(case)(rounded.float(), speakers)
        for outcome in (make(case)(rounded, speakers), found):
            torch.testing.assert_close(outcome, expected, rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_the_margins_share_moves_the_loss_and_not_the_logits(case):
    embeddings, speakers = batch()
    for options in variants(case):
        values, logits = [], []
        for share in (0.0, 1.0):
            loss = make(case, **options)
            with_margin = [module for module in loss.modules() if hasattr(module, "margin_share")]
            for module in with_margin:
                assert module.margin_share == 1.0 and module.margin > 0
                module.margin_share = share
            value, found = loss(embeddings, speakers)
            values.append(value)
            logits.append(found)
        assert (values[0] != values[1]) == bool(with_margin), options
        assert logits[0] is logits[1] is None or torch.equal(*logits), options


@pytest.mark.parametrize("case", CASES)
def test_copies_and_saved_states_give_the_same_loss(case):
    """After some training steps: whatever a loss has learned or counted is in its state."""
    embeddings, speakers = batch()
    for options in variants(case):
        loss = make(case, **options)
        optimizer = torch.optim.SGD(loss.parameters(), lr=0.1) if list(loss.parameters()) else None
        for seed in range(3):
            value, _ = loss(batch(seed)[0], speakers)
            if optimizer is not None:
                value.backward()
                optimizer.step()
        file = io.BytesIO()
        torch.save(loss.state_dict(), file)
        restored = make(case, **options)
        restored.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
        for training in (True, False):
            found = []
            for other in (loss, restored, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
                torch.manual_seed(7)
                with torch.no_grad():
                    found.append(other.train(training)(embeddings, speakers)[0])
                if training:  # a step that counts: each from the same state
                    other.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
            assert all(torch.equal(value, found[0]) for value in found), (options, found)


@pytest.mark.parametrize("case", CASES)
def test_it_teaches_to_separate_speakers(case):
    """A linear map of noisy inputs, trained for some steps: each embedding comes nearest to its own speaker's mean."""
    _, speakers = batch()
    generator = torch.Generator().manual_seed(1)
    means = torch.randn(CLASSES, 32, generator=generator)
    inputs = 0.5 * means[speakers] + torch.randn(len(speakers), 32, generator=generator)
    loss = make(case)
    torch.manual_seed(2)
    network = torch.nn.Linear(32, DIM)
    parameters = [*network.parameters(), *loss.parameters()]
    assert accuracy(network(inputs), speakers) < 0.8
    optimizer, values = torch.optim.SGD(parameters, lr=0.1, momentum=0.9), []
    for step in range(60):
        optimizer.param_groups[0]["lr"] = 0.1 * (1.0 - step / 60)
        value, _ = loss(network(inputs), speakers)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)  # so that one rate suits all scales
        optimizer.step()
        values.append(value.item())
    assert sum(values[-5:]) < 0.7 * sum(values[:5])
    assert accuracy(network(inputs), speakers) == 1.0


def accuracy(embeddings: torch.Tensor, speakers: torch.Tensor) -> float:
    """Share of embeddings whose cosine with the mean direction of their own speaker is the greatest."""
    directions = F.normalize(embeddings.detach())
    names = speakers.unique()
    means = F.normalize(torch.stack([directions[speakers == name].mean(dim=0) for name in names]))
    return float((names[(directions @ means.T).argmax(dim=1)] == speakers).float().mean())


@pytest.mark.parametrize("case", CASES)
def test_evaluation_repeats_and_leaves_the_state(case):
    embeddings, speakers = batch()
    loss = make(case).eval()
    before = copy.deepcopy(loss.state_dict())
    first, second = loss(embeddings, speakers), loss(embeddings, speakers)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())
    if first[1] is not None:
        assert first[1].isfinite().all()


def test_a_mean_over_the_batch():
    """A batch twice over has the same loss: rates need not follow the batch size. Of losses that classify."""
    embeddings, speakers = batch()
    for case in CASES:
        loss = make(case).eval()
        value, logits = loss(embeddings, speakers)
        if logits is not None and not hasattr(loss, "losses"):
            assert loss(embeddings.repeat(2, 1), speakers.repeat(2))[0].item() == pytest.approx(value.item(), rel=1e-5)


# --- docs/losses.md


def table(heading: str, page: str = "losses") -> dict[str, list[str]]:
    """The first table under a heading: the name in the first cell -> the other cells; some cells name two."""
    _, _, rest = (CONF.parent / "docs" / f"{page}.md").read_text().partition(f"\n{heading}\n")
    lines = itertools.takewhile(lambda line: line.startswith("|"), rest[rest.index("\n|---") :].splitlines()[2:])
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {name: others for first, *others in rows for name in re.findall(r"`(\w+)`", first)}


def members(group: str) -> set[str]:
    return {path.stem for path in (CONF / group).glob("*.yaml")}


def test_the_page_names_every_loss_with_its_settings():
    losses = table("## Losses that classify") | table("## Losses that compare")
    assert losses.keys() == members("loss") - {"weighted_sum", "fusion"}, "those two are in a section of their own"
    written = {name: dict(re.findall(r"`(\w+)` (-?\w[\w.]*)", arguments)) for name, (_, arguments, _) in losses.items()}
    for name in ("am", "subcenter_aam"):  # whose rows say: and as `aam`
        shared = config(f"loss={name}").loss.keys()
        written[name] = {key: value for key, value in written["aam"].items() if key in shared} | written[name]
    for name, arguments in written.items():
        settings = {key: value for key, value in config(f"loss={name}").loss.items() if key != "_target_"}
        assert arguments.keys() == settings.keys(), name
        for key, value in settings.items():
            assert OmegaConf.create(f"v: {arguments[key]}").v == value, f"{name}: {key}"


def test_the_pages_name_every_margin_regulariser_and_scheduler():
    assert table("## Margin schedules").keys() == members("margin")
    assert table("## Regularisers").keys() == members("regulariser")
    assert table("## Learning rate", "training").keys() == members("scheduler")
