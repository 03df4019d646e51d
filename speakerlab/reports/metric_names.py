"""Metrics in words: how each is called, and how its values are written."""

from collections.abc import Mapping

# Metric -> name, factor, format and unit of its values.
METRICS = {
    "eer": ("EER", 100, ".2f", " %"),
    "threshold": ("EER threshold", 1, ".4f", ""),
    "auc": ("AUC", 1, ".4f", ""),
    "min_cllr": ("min Cllr", 1, ".4f", " bits"),
    "cllr": ("Cllr", 1, ".4f", " bits"),
    "accuracy": ("accuracy", 100, ".2f", " %"),
    "top5_accuracy": ("top-5 accuracy", 100, ".2f", " %"),
    "macro_f1": ("macro F1", 100, ".2f", " %"),
    "micro_f1": ("micro F1", 100, ".2f", " %"),
    "error_rate": ("error rate", 100, ".2f", " %"),
    "parameters": ("parameters", 1, ",d", ""),
    "macs": ("multiply-accumulates", 1e-9, "#.3g", " G"),
    "disk_mb": ("size on disk", 1, ",.1f", " MB"),
    "embeddings_per_second": ("embeddings a second", 1, ",.3g", ""),
    "latency_ms": ("latency", 1, ",.1f", " ms"),
    "memory_mb": ("peak memory", 1, ",.0f", " MB"),
}
# Beginnings of names that end in an operating point.
FAMILIES = {
    "min_dcf_": ("minDCF({})", 1, ".4f", ""),
    "act_dcf_": ("actual DCF({})", 1, ".4f", ""),
}
REJECTIONS = "frr_at_far_"
HIGHER_IS_BETTER = ("auc", "accuracy", "top5_accuracy", "macro_f1", "micro_f1", "embeddings_per_second")


def metric_name(metric: str) -> str:
    """A metric as people call it.

    >>> metric_name("eer"), metric_name("min_dcf_voxsrc"), metric_name("frr_at_far_0.001")
    ('EER', 'minDCF(voxsrc)', 'FRR at FAR 0.1 %')
    """
    return _described(metric)[0]


def metric_value(metric: str, value: float | None) -> str:
    """A value with its unit; a dash for None.

    >>> metric_value("eer", 0.0123), metric_value("macs", 949_444_608), metric_value("eer", None)
    ('1.23 %', '0.949 G', '–')
    """
    _, factor, form, unit = _described(metric)
    if value is None:
        return "–"
    return (format(round(value), form) if form.endswith("d") else format(factor * value, form)) + unit


def signed_value(metric: str, value: float) -> str:
    """A difference, without its unit.

    >>> signed_value("eer", -0.0123), signed_value("auc", 0.01)
    ('−1.23', '+0.0100')
    """
    _, factor, form, _ = _described(metric)
    return format(factor * value, f"+{form.replace(',', '')}").replace("-", "−")


def metric_unit(metric: str) -> tuple[float, str]:
    """By what a value is multiplied to be written, and the unit that it then has.

    >>> metric_unit("eer"), metric_unit("auc")
    ((100, '%'), (1, ''))
    """
    _, factor, _, unit = _described(metric)
    return factor, unit.strip()


def interval_words(metric: str, metrics: Mapping[str, float]) -> str:
    """The metric's 95 % interval, where it has one.

    >>> interval_words("eer", {"eer": 0.02, "eer_low": 0.01, "eer_high": 0.04})
    '1.00 to 4.00 %'
    """
    if f"{metric}_low" not in metrics:
        return ""
    _, factor, form, unit = _described(metric)
    low, high = (format(factor * metrics[f"{metric}_{end}"], form) for end in ("low", "high"))
    return f"{low} to {high}{unit}"


def _described(metric: str) -> tuple[str, float, str, str]:
    if metric.startswith(REJECTIONS):
        return f"FRR at FAR {100 * float(metric.removeprefix(REJECTIONS)):g} %", 100, ".2f", " %"
    for beginning, (name, *form) in FAMILIES.items():
        if metric.startswith(beginning):
            return name.format(metric.removeprefix(beginning)), *form
    return METRICS.get(metric, (metric, 1, ".4g", ""))
