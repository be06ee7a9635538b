"""The YAML at the start of a model card, which hubs read."""

from typing import Any

import yaml

from gcnet_tf.export.card.facts import CardFacts

# Hubs' names of formats and metrics.
_TAGS = {"tflite": "tflite", "onnx": "onnx", "saved_model": "tf-saved-model"}
_METRICS = {"mIoU": "mean_iou", "mAcc": "mean_accuracy", "aAcc": "accuracy"}


def front_matter(facts: CardFacts) -> str:
    """Writes the front matter, between its two lines of dashes.

    The licence is "unknown": that of the weights is for whoever publishes them.
    """
    formats = {manifest.format for manifest in facts.files.values()}
    values: dict[str, Any] = {
        "library_name": "gcnet_tf",
        "license": "unknown",
        "pipeline_tag": "image-segmentation",
        "tags": [
            "image-segmentation",
            "semantic-segmentation",
            "gcnet",
            "tensorflow",
            *sorted(_TAGS[name] for name in formats),
        ],
        "datasets": [facts.config.data.dataset],
    }
    results = _results(facts)
    if results:
        values["metrics"] = [metric["type"] for metric in results]
        values["model-index"] = [
            {
                "name": facts.name,
                "results": [
                    {
                        "task": {"type": "image-segmentation"},
                        "dataset": {
                            "name": facts.config.data.dataset,
                            "type": facts.config.data.dataset,
                            "split": "val",
                        },
                        "metrics": results,
                    }
                ],
            }
        ]
    text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
    return f"---\n{text}---\n"


def _results(facts: CardFacts) -> list[dict[str, Any]]:
    """Lists what the run has measured over its validation images."""
    return [
        {"type": _METRICS[name], "value": facts.metrics[name], "name": f"{name} (val)"}
        for name in _METRICS
        if facts.metrics.get(name) is not None
    ]
