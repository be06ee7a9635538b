"""The page itself: what it holds, that nothing leads outside, that names stay text."""

import numpy as np
import pytest
from page_reader import Page

from gcnet_tf.config import load_config
from gcnet_tf.report.counted.selection import Selection, select
from gcnet_tf.report.exported import ExportedFile
from gcnet_tf.report.page import Material, decimal, percent, write_page
from gcnet_tf.report.samples import Shown

EVIL = '<script>alert("x")</script>'


def shown(name, index, num_classes):
    rng = np.random.default_rng(100 + index)
    image = rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)
    truth = rng.integers(0, num_classes, (24, 32)).astype(np.uint8)
    return Shown(f"{name} {index}", image, truth)


def page_of(subjects, folder, name="image", **changes):
    findings = [subject.findings for subject in subjects if subject.findings]
    num_classes = len(subjects[0].predictor.classes)
    selection = Selection([], [], [])
    if findings:
        apart = np.array(findings[1].apart) if len(findings) > 1 else None
        selection = select(np.array(findings[0].errors), apart)
    images = {index: shown(name, index, num_classes) for index in selection.all}
    material = {
        "split": "val",
        "selection": selection,
        "shown": images,
        "exported": [],
        "command": "python scripts/report.py",
        **changes,
    }
    write_page(folder / "page.html", subjects, Material(**material))
    html = (folder / "page.html").read_text(encoding="utf-8")
    return html, Page(html).check()


def test_a_page_shows_all_parts_and_leads_nowhere(make_subject, own_classes, tmp_path):
    subject = make_subject(own_classes("road", "tree", "sky"))
    files = [
        ExportedFile("a.tflite", "tflite", "int8", 3.9, (24, 32), 1.5, 0.99, 0.5, 0.01),
        ExportedFile("b.onnx", problem="it is cut short"),
    ]
    html, page = page_of([subject], tmp_path, exported=files)
    for part in (
        "classes",
        "images",
        "confusions",
        "trust",
        "data",
        "exported",
        "made",
    ):
        assert ("section", part) in [(t, v.get("id")) for t, v in page.elements]
    assert "://" not in html
    assert "a.tflite" in page.text and "it is cut short" in page.text
    metrics = subject.findings.metrics
    assert page.numbers["miou"] == [metrics.miou]
    assert page.numbers["iou"] == sorted(metrics.iou.tolist())
    assert page.numbers["ece"] == [subject.findings.calibration.error()]


def test_names_of_classes_images_and_models_are_never_markup(
    make_subject, own_classes, tmp_path
):
    subject = make_subject(own_classes(EVIL, "a\" onerror='x", "&lt;b&gt;"), name=EVIL)
    subject.versions = {EVIL: EVIL}
    html, page = page_of([subject], tmp_path, name=EVIL, command=EVIL, notes=[EVIL])
    assert "<script" not in html.lower()
    # Once as the name of a class, and in every other role.
    assert page.text.count(EVIL) > 10 and "&lt;b&gt;" in page.text
    alts = [values["alt"] for tag, values in page.elements if tag == "img"]
    assert any(EVIL in alt for alt in alts)


def test_two_models_stand_side_by_side(make_subject, own_classes, tmp_path):
    config = own_classes("road", "tree", "sky")
    first = make_subject(config, name="old")
    second = make_subject(config, seed=1, first=[first], name="new")
    html, page = page_of([first, second], tmp_path)
    assert page.numbers["miou"] == [
        first.findings.metrics.miou,
        second.findings.metrics.miou,
    ]
    changes = second.findings.metrics.iou - first.findings.metrics.iou
    assert sorted(page.numbers["change"]) == pytest.approx(sorted(changes))
    assert "Where the models differ most" in page.text
    for index, apart in enumerate(second.findings.apart):
        labels = [one.findings.labels[index].unpacked() for one in (first, second)]
        assert apart == (labels[0] != labels[1]).mean()


def test_a_hundred_and_fifty_classes_are_readable(make_subject, tmp_path):
    config = load_config("ade20k_r50_80k", ["data.records=nowhere"])
    subject = make_subject(config, images=2)
    html, page = page_of([subject], tmp_path)
    rows = [values for tag, values in page.elements if tag == "tr"]
    # The classes, the largest confusions, and a picture in place of 22,500 cells.
    assert 150 < len(rows) < 350
    pictures = [v for tag, v in page.elements if v.get("class") == "heat"]
    assert len(pictures) == 1 and "150 classes" in pictures[0]["alt"]


def test_one_class_is_enough(make_subject, own_classes, tmp_path):
    subject = make_subject(own_classes("a", "b"), classes=("all",))
    html, page = page_of([subject], tmp_path)
    assert page.numbers["miou"] == [1.0] and "No labelled pixel is wrong" in page.text


def test_nothing_labelled_is_no_number(make_subject, own_classes, tmp_path):
    subject = make_subject(own_classes("a", "b"), images=1)
    subject.findings.counts[:] = 0
    subject.findings.errors = [float("nan")]
    subject.findings.metrics = subject.findings.metrics.__class__(
        *[np.full(2, np.nan)] * 2, *[float("nan")] * 3
    )
    html, page = page_of([subject], tmp_path)
    assert "nan" not in page.text.lower() and "–" in page.text


def test_without_findings_there_is_a_shorter_page(make_subject, own_classes, tmp_path):
    subject = make_subject(own_classes("a", "b"))
    subject.findings = None
    html, page = page_of([subject], tmp_path, split="", notes=["Nothing."])
    assert "Nothing." in page.text and "Images" not in page.text
    assert len(html) < 40_000


def test_numbers_are_exact_beside_what_is_shown():
    assert percent(1 / 3, 2) == '<data value="0.3333333333333333">33.33</data>'
    assert decimal(-1234.5, 1) == '<data value="-1234.5">−1,234.5</data>'
    assert "–" in percent(float("nan")) and "–" in percent(None)
