"""Evaluate a trained model, or what was saved of one: on a trial list, or by naming speakers.

    python evaluate.py ckpt=outputs/ecapa_aam/2026-01-31_12-00-00              # its best epoch, its own trials or test
    python evaluate.py ckpt=best.ckpt trials=vox1_o_cleaned trials_root=/data/voxceleb1
    python evaluate.py ckpt=best.ckpt trials=list.txt trials_root=[/data/a,/data/b] device=cpu
    python evaluate.py ckpt=best.ckpt manifest=/data/voices/manifest.parquet   # who of the training speakers is it?
    python evaluate.py ckpt=best.ckpt manifest=/data/voices/manifest.parquet enrolment=train  # who of those in train?
    python evaluate.py ckpt=best.ckpt trials=list.txt save_embeddings=saved.npz
    python evaluate.py embeddings=saved.npz trials=list.txt
    python evaluate.py embeddings=test.parquet enrolment=enrolled.parquet      # who of those in the other file?
    python evaluate.py ckpt=RUN save_embeddings=saved.npz save_corpus=true     # to train a fusion on: data=embeddings
    python evaluate.py ckpt=FUSION 'embeddings=[a.npz,b.npz]'                  # in place of its branches
    python evaluate.py ckpt=FUSION scoring=pair_mlp                            # by its MLP for pairs
    python evaluate.py ckpt=RUN scoring=asnorm save_calibration=true           # on development trials, for other lists
    python evaluate.py ckpt=RUN scoring=asnorm trials=vox1_o_cleaned trials_root=/data/voxceleb1
    python evaluate.py scores=[a.csv,b.csv] development_scores=[dev_a.csv,dev_b.csv]   # two systems, fused

Lists are VoxCeleb's `label enrol test`, Kaldi's `enrol test target|nontarget` or CSV with a header. Scores or
predictions, figures, a report, a log and a table of metrics are written to the run's folder.
"""

from omegaconf import DictConfig

from speakerlab.cli.launch import script, trusted_on_command_line


@script("evaluate")
def main(cfg: DictConfig) -> float:
    """Returns the EER, or the error rate of an identification."""
    from speakerlab.cli import evaluation
    from speakerlab.cli.progress import progress_bar
    from speakerlab.inference.evaluation import check_numbers
    from speakerlab.inference.model import task_of
    from speakerlab.inference.request import CLASSIFIER, ENROLMENT, TRIALS, check_request, kind_of
    from speakerlab.inference.source import open_source
    from speakerlab.training.hardware import prepare_cpu

    check_request(cfg)
    check_numbers(cfg.bootstrap_draws, cfg.operating_points)
    prepare_cpu(cfg.threads)
    if cfg.scores is not None:
        return evaluation.evaluate_scores(cfg)
    source = open_source(cfg, trusted_on_command_line(), progress_bar)
    kind = kind_of(cfg, task_of(source.checkpoint))
    if cfg.save_corpus:
        evaluation.save_corpus(cfg, source)
    evaluate = {TRIALS: evaluation.verify, CLASSIFIER: evaluation.identify, ENROLMENT: evaluation.recognise}[kind]
    return evaluate(cfg, source)


if __name__ == "__main__":
    main()
