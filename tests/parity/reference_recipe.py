"""Trains the reference by a configuration of ours, for `scripts/compare.py`.

    python tests/parity/reference_recipe.py DATA SETTINGS LOG

DATA/{train,val}/{images,labels} holds images and label PNGs of the same names; SETTINGS
is what scripts/benchmarks/comparison/reference.py writes. mmsegmentation does all of
it: its initial weights, pipeline, losses, SGD, schedule and metric, channels last. LOG
is written at the end, in the form of a run folder's metrics.jsonl.

Needs the environment of tests/parity/requirements.txt.
"""

import json
import os
import random
import sys
from pathlib import Path

import cv2
import numpy as np
import reference
import torch
from mmengine.optim import PolyLR
from reference_pipeline import pairs_of, training_pipeline
from reference_protocol import areas_of, metrics_of, run_pipeline, single_pipeline


def build(settings: dict) -> torch.nn.Module:
    """Builds the network with the reference's own initial weights."""
    model = reference.build_segmentor(
        **settings["network"], pad_size=tuple(settings["augment"]["crop_size"])
    )
    model.auxiliary_head.loss_decode.loss_weight = settings["auxiliary_weight"]
    for head, ratio in zip(
        (model.decode_head, model.auxiliary_head), settings["dropout"]
    ):
        head.dropout = torch.nn.Dropout2d(ratio)
    model.init_weights()
    return model.to(memory_format=torch.channels_last)


def batches(pairs: list, pipeline, batch_size: int):
    """Yields batches of transformed samples without end, each epoch in a new order."""
    batch: list[dict] = []
    while True:
        for index in np.random.permutation(len(pairs)):
            batch.append(run_pipeline(pipeline, *pairs[index]))
            if len(batch) == batch_size:
                yield {key: [sample[key] for sample in batch] for key in batch[0]}
                batch = []


def evaluate(model, pairs: list, settings: dict) -> dict:
    """Evaluates whole images one by one; returns the record of metrics.jsonl."""
    pipeline = single_pipeline(settings["scale"])
    model.eval()
    metrics = metrics_of(areas_of(model, pipeline, pairs, settings["classes"]))
    model.train()
    classes = {
        name: {"IoU": None if np.isnan(iou) else float(iou)}
        for name, iou in zip(settings["classes"], metrics["IoU"])
    }
    return {
        "kind": "val",
        "mIoU": float(np.nanmean(metrics["IoU"])),
        "aAcc": float(metrics["aAcc"]),
        "classes": classes,
    }


def train(data: Path, settings: dict):
    """Trains, and yields the records of metrics.jsonl."""
    random.seed(settings["seed"])
    np.random.seed(settings["seed"])
    torch.manual_seed(settings["seed"])
    optimizer_settings, total = settings["optimizer"], settings["iterations"]
    model = build(settings)
    optimizer = torch.optim.SGD(model.parameters(), **optimizer_settings)
    schedule = PolyLR(
        optimizer,
        **settings["schedule"],
        begin=0,
        end=total,
        by_epoch=False,
    )
    stream = batches(
        pairs_of(data / "train"),
        training_pipeline(**settings["augment"]),
        settings["batch_size"],
    )
    recent: list[float] = []
    for iteration in range(1, total + 1):
        inputs = model.data_preprocessor(next(stream), training=True)
        pixels = inputs["inputs"].to(memory_format=torch.channels_last)
        loss, _ = model.parse_losses(model.loss(pixels, inputs["data_samples"]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if iteration % settings["log_every"] == 0 or iteration == total:
            mean = float(np.mean(recent))
            print(f"iteration {iteration} of {total}: loss {mean:.4f}", flush=True)
            yield {"kind": "train", "iteration": iteration, "loss": mean}
            recent = []
        if iteration % settings["evaluate_every"] == 0 or iteration == total:
            record = evaluate(model, pairs_of(data / "val"), settings)
            print(f"iteration {iteration}: val mIoU {record['mIoU']:.4f}", flush=True)
            yield record | {"iteration": iteration}


def main() -> None:
    data, settings, log = map(Path, sys.argv[1:])
    cv2.setNumThreads(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    records = list(train(data, json.loads(settings.read_text(encoding="utf-8"))))
    lines = "".join(json.dumps(record) + "\n" for record in records)
    partial = log.with_suffix(".partial")
    partial.write_text(lines, encoding="utf-8")
    partial.replace(log)


if __name__ == "__main__":
    main()
