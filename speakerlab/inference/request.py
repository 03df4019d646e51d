"""What the user asks an evaluation for: arguments that go together, and what they mean."""

from pathlib import Path

from omegaconf import DictConfig, ListConfig

from speakerlab import InputError
from speakerlab.inference.scoring import PAIR_MLP, check_scoring, is_plain, recipe_name

TRIALS, CLASSIFIER, ENROLMENT = "trials", "classifier", "enrolment"  # what an evaluation is of
ENROLLED = "train"  # the split that speakers of saved embeddings are enrolled from
SPLITS = ("train", "val", "test")


def check_request(cfg: DictConfig) -> None:
    """Refuse arguments that don't go together, before anything is loaded.

    Raises:
        InputError: naming them.
    """
    if cfg.split not in (None, "val", "test"):
        raise InputError(f"split={cfg.split} must be val or test")
    if cfg.trials is not None:
        for name in ("split", "manifest", "enrolment"):
            if cfg[name] is not None:
                raise InputError(f"trials={cfg.trials} and {name}={cfg[name]} both say what to evaluate on: give one")
    elif cfg.trials_root is not None:
        raise InputError("trials_root is given without trials: add trials=LIST")
    if cfg.save_corpus and (cfg.save_embeddings is None or cfg.ckpt is None):
        raise InputError("save_corpus=true needs ckpt=RUN and a place: add save_embeddings=PATH")
    if cfg.baselines and cfg.scoring.backend == PAIR_MLP:
        raise InputError("baselines=true: the others have no pair MLP; take scoring=cosine")
    if cfg.save_embeddings is not None and cfg.scoring.crops:
        raise InputError("save_embeddings keeps embeddings of whole utterances: take scoring.crops=0")
    if not cfg.cache_gigabytes >= 0:
        raise InputError(f"cache_gigabytes={cfg.cache_gigabytes} must be a number from 0, which keeps nothing")
    if cfg.neighbours < 1:
        raise InputError(f"neighbours={cfg.neighbours} must be at least 1")
    if cfg.processes is not None and cfg.processes < 1:
        raise InputError(f"processes={cfg.processes} must be at least 1")
    check_scoring(cfg.scoring)
    if cfg.scores is not None:
        _check_scores(cfg)
    elif cfg.development_scores is not None:
        raise InputError("development_scores is given without scores: add scores=FILE")
    if cfg.embeddings is not None:
        _check_without_audio(cfg)
    if cfg.embeddings is not None and cfg.ckpt is None:
        _check_saved(cfg)
    elif cfg.enrolment is not None and cfg.enrolment not in SPLITS:
        raise InputError(f"enrolment={cfg.enrolment}: with ckpt= it is a split of the manifest: {', '.join(SPLITS)}")
    if cfg.enrolment is not None and cfg.enrolment == part_of_test(cfg):
        raise InputError(f"enrolment={cfg.enrolment} is the split to recognise too; enrol from another one")


def _check_scores(cfg: DictConfig) -> None:
    """What needs a model or embeddings goes with no scores that are there already."""
    for key in ("ckpt", "embeddings", "manifest", "enrolment", "split"):
        if cfg[key] is not None:
            raise InputError(f"scores={cfg.scores} and {key}={cfg[key]} both say what to evaluate: give one")
    for key in ("baselines", "save_calibration", "save_embeddings"):
        if cfg[key]:
            raise InputError(f"{key} needs a model: give ckpt in place of scores={cfg.scores}")
    if not is_plain(cfg.scoring):
        raise InputError(
            f"scoring={recipe_name(cfg.scoring)} makes scores of embeddings, and scores={cfg.scores} are there: "
            "give ckpt or embeddings in their place"
        )


def _check_without_audio(cfg: DictConfig) -> None:
    given = f"embeddings={cfg.embeddings}"
    if not isinstance(cfg.embeddings, str | ListConfig | DictConfig):
        raise InputError(f"{given} must be a path; with ckpt=FUSION a list of paths, or paths by branches' names")
    if cfg.baselines:
        raise InputError(f"{given}: baselines=true needs audio and a checkpoint")
    if cfg.scoring.crops:
        raise InputError(f"{given}: scoring.crops={cfg.scoring.crops} needs audio and a checkpoint")


def _check_saved(cfg: DictConfig) -> None:
    given = f"embeddings={cfg.embeddings}"
    if not isinstance(cfg.embeddings, str):
        raise InputError(f"{given}: several sources are for a fusion of them: add ckpt=FUSION")
    if cfg.scoring.backend == PAIR_MLP:
        raise InputError(f"{given}: scoring=pair_mlp needs the checkpoint that has the MLP: add ckpt=RUN")
    if cfg.save_calibration:
        raise InputError(f"{given}: save_calibration=true needs a checkpoint to keep it in")
    if cfg.trials is not None:
        return
    if cfg.manifest is None and cfg.enrolment is None:
        raise InputError(
            f"{given}: say what to evaluate: trials=LIST; or to identify, manifest=MANIFEST or enrolment=EMBEDDINGS"
        )
    if cfg.manifest is not None and cfg.enrolment not in (None, *SPLITS):
        raise InputError(
            f"enrolment={cfg.enrolment} and manifest={cfg.manifest} both say whom to enrol: with a manifest, enrolment "
            f"is one of its splits ({', '.join(SPLITS)})"
        )
    if cfg.manifest is None and cfg.enrolment in SPLITS and not Path(cfg.enrolment).exists():
        raise InputError(f"enrolment={cfg.enrolment}: a split needs manifest=MANIFEST; or give a file of embeddings")
    if cfg.manifest is None and cfg.split is not None:
        raise InputError(f"split={cfg.split} needs manifest=MANIFEST, which says what is in it")


def kind_of(cfg: DictConfig, task: str | None) -> str:
    """`TRIALS` to score a list; `CLASSIFIER` to name training speakers by the loss; `ENROLMENT` to name speakers by
    embeddings of their utterances.

    Args:
        cfg: checked.
        task: of the checkpoint; None for saved embeddings.

    Raises:
        InputError: if what is for trials is to name speakers.
    """
    if cfg.trials is not None:
        return TRIALS
    if cfg.enrolment is not None or task is None:
        kind = ENROLMENT
    else:
        kind = CLASSIFIER if cfg.manifest is not None or task == "identification" else TRIALS
    if kind != TRIALS and cfg.baselines:
        raise InputError("baselines=true is for trials: mean MFCC and an untrained network can name no speaker")
    if kind != TRIALS and not is_plain(cfg.scoring):
        raise InputError(
            "scoring is for trials: speakers are named by the cosine or the classifier; take scoring=cosine"
        )
    if kind != TRIALS and cfg.save_calibration:
        raise InputError("save_calibration=true is for trials: add trials=LIST")
    return kind


def part_of_test(cfg: DictConfig) -> str:
    """The split whose utterances are identified."""
    return cfg.split or "test"


def name_of(cfg: DictConfig, kind: str) -> str:
    """What the files of this evaluation are called."""
    if kind == TRIALS:
        own = "test" if cfg.split == "test" else "development"
        listed = own if cfg.trials is None else Path(cfg.trials).stem
        return "_".join(part for part in (listed, recipe_name(cfg.scoring)) if part)
    if kind == CLASSIFIER:
        return f"identification_{part_of_test(cfg)}"
    two_files = cfg.embeddings is not None and cfg.ckpt is None and cfg.manifest is None
    return f"enrolment_{Path(cfg.embeddings).stem if two_files else part_of_test(cfg)}"
