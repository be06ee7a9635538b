"""The page in a headless Chromium: `make web-test`, which has Playwright.

Labels come out of the page as people get them, by its button "Save ids", and are
compared with those of `Predictor` for the same file.
"""

import json
import re
import shutil

import keras
import numpy as np
import pytest
from browser import SOFTWARE_GPU, chromium, served
from helpers import draw_weights
from photos import scene, write_photos
from PIL import Image

from gcnet_tf.export.tflite.export import export_tflite
from gcnet_tf.export.web.site import write_site
from gcnet_tf.models import build_model
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.image_files import read_image

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shallow")]

SIZE = (48, 64)
# With these a server gives a page threads.
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
FEWEST_EQUAL = 0.999


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "photos")


@pytest.fixture(scope="module")
def start():
    with chromium() as start:
        yield start


@pytest.fixture(scope="module")
def browser(start):
    with start() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory, tiny_config, browser):
    """A page with an int8 and a float model, whose weights are drawn."""
    config = tiny_config("evaluation.scale=[64,48]")
    keras.utils.set_random_seed(0)
    model = build_model(config)
    draw_weights(model, np.random.default_rng(0))
    # Certain predictions, so that rounding decides no class, and of several classes.
    classifier = model.decode_head.classifier
    classifier.kernel.assign(classifier.kernel * 100)
    logits = model(np.asarray(scene(*SIZE, seed=5))[np.newaxis])["logits"].numpy()
    classifier.bias.assign_sub(logits.mean(axis=(0, 1, 2)))
    out = tmp_path_factory.mktemp("site")
    paths = [
        path
        for precision in ("int8", "fp32")
        for path in export_tflite(
            model, config, out, precision=precision, size=SIZE, outputs=["logits"]
        )
    ]
    write_site(out, paths)
    return out


@pytest.fixture(scope="module")
def url(site):
    with served(site) as address:
        yield address


class Page:
    """The page as a person uses it; notes each request and each error of a script."""

    def __init__(self, browser, url, model="model_int8.tflite", **options):
        self.context = browser.new_context(**options)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(60_000)
        self.requests, self.errors = [], []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.context.on("response", self._note_status)
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.url = url
        self.tab.goto(url)
        self.wait_until_ready()
        if model != "model_int8.tflite":
            self.tab.select_option("#model", model)
            self.wait_until_ready()

    def _note_status(self, response):
        if response.status >= 400:
            self.errors.append(f"{response.status} {response.url}")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        outside = [url for url in self.requests if not url.startswith(self.url)]
        self.context.close()
        if exception == (None, None, None):
            # Pictures are blobs, and the icon is data: of the page itself.
            assert not [url for url in outside if not re.match("blob:|data:", url)]
            assert not self.errors

    def wait_until_ready(self):
        self.tab.wait_for_selector("#choose:enabled")

    def give(self, path):
        """Chooses a file, and waits for its legend or a sentence, which it returns."""
        self.tab.evaluate("document.querySelector('#status').textContent = ''")
        self.tab.set_input_files("#file", str(path))
        return self.answer()

    def answer(self):
        self.tab.wait_for_function(
            "() => document.querySelector('#status').textContent.startsWith('Done') "
            "|| !document.querySelector('#message').hidden"
        )
        return self.tab.text_content("#message")

    def saved(self, button):
        """Presses a button, and returns the file that it saves, and its name."""
        with self.tab.expect_download() as download:
            self.tab.click(button)
        with Image.open(download.value.path()) as image:
            image.load()
        return image, download.value.suggested_filename

    def labels(self, path):
        assert self.give(path) == ""
        image, name = self.saved("#save-ids")
        assert image.mode == "P" and name == f"{path.stem}.png"
        return np.asarray(image)


def check_labels(page, predictor, photos):
    num_classes = set()
    for path in photos:
        labels, expected = page.labels(path), predictor(read_image(path))
        assert labels.shape == expected.shape, path.name
        assert (labels == expected).mean() >= FEWEST_EQUAL, path.name
        num_classes.add(len(np.unique(expected)))
    assert max(num_classes) >= 3  # else equal labels would show little


@pytest.mark.parametrize("model", ["model_int8.tflite", "model_fp32.tflite"])
def test_labels_are_those_of_the_runtime(browser, url, site, photos, model):
    assert len(photos) >= 20
    with Page(browser, url, model) as page:
        facts = page.tab.text_content("#model-facts")
        assert "6 classes" in facts and "64×48 · on the processor" in facts
        check_labels(page, Predictor(site / model), photos)


def test_colours_under_alpha_count(site, photos):
    """A page that lost them would fail the test above, as labels would differ."""
    (path,) = (path for path in photos if path.name == "alpha.png")
    predictor = Predictor(site / "model_fp32.tflite")
    with Image.open(path) as image:
        black = Image.new("RGBA", image.size, "black")
        composed = Image.alpha_composite(black, image).convert("RGB")
    same = predictor(read_image(path)) == predictor(np.asarray(composed))
    assert same.mean() < FEWEST_EQUAL


def test_packages_name_addresses_in_comments_alone(site):
    for path in (site / "litert").rglob("*.js"):
        for line in path.read_text(encoding="utf-8").splitlines():
            is_comment = line.lstrip().startswith(("//", "/*", "*"))
            assert is_comment or not re.search("https?://", line), path


@pytest.mark.parametrize("align_corners", [False, True])
def test_windows_are_those_of_the_runtime(
    browser, site, photos, tmp_path, align_corners
):
    """The model slides over larger images, as its manifest says."""
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    path = copy / "model_int8.tflite.json"
    manifest = json.loads(path.read_text())
    manifest["protocol"] |= {
        "mode": "slide",
        "scale": [200, 150],
        "window": [96, 128],
        "stride": [60, 90],
        "align_corners": align_corners,
    }
    path.write_text(json.dumps(manifest))
    some = [path for path in photos if path.stem in ("landscape", "portrait", "small")]
    with served(copy) as url, Page(browser, url) as page:
        check_labels(page, Predictor(copy / "model_int8.tflite"), some)


def test_a_server_that_allows_threads_gets_them(browser, site, photos):
    with served(site, **ISOLATED) as url, Page(browser, url) as page:
        assert page.tab.evaluate("crossOriginIsolated")
        check_labels(page, Predictor(site / "model_int8.tflite"), photos[:2])
        assert any("litert_wasm_threaded" in request for request in page.requests)


def test_a_gpu_computes_float_models_and_no_others(start, url, site, photos):
    predictor = Predictor(site / "model_fp32.tflite")
    with start(*SOFTWARE_GPU) as browser:
        with Page(browser, url, "model_fp32.tflite") as page:
            if "on the GPU" not in page.tab.text_content("#model-facts"):
                pytest.skip("this Chromium has no WebGPU on the processor")
            check_labels(page, predictor, photos[:2])
            page.tab.select_option("#model", "model_int8.tflite")
            page.wait_until_ready()
            # The photo on the page is computed again by the model that is chosen.
            page.answer()
            assert "on the processor" in page.tab.text_content("#model-facts")


def test_the_overlay_mixes_the_photo_and_its_colours(browser, url, site, tmp_path):
    path = tmp_path / "photo.png"
    scene(90, 120, 4).save(path)
    with Page(browser, url) as page:
        labels = page.labels(path)
        page.tab.fill("#opacity", "30")
        overlay, name = page.saved("#save-overlay")
        legend = page.tab.locator("#legend li").all_text_contents()
    assert name == "photo_overlay.png"
    predictor = Predictor(site / "model_int8.tflite")
    colours = np.array(predictor.palette)[labels]
    expected = 0.7 * read_image(path) + 0.3 * colours
    # Browsers mix in 8 bits.
    assert np.abs(np.asarray(overlay)[..., :3] - expected).max() < 3
    ids, counts = np.unique(labels, return_counts=True)
    largest = np.argsort(-counts, kind="stable")[0]
    share = f"{100 * counts[largest] / labels.size:.1f} %"
    assert legend[0] == predictor.classes[ids[largest]] + share
    assert len(legend) == len(ids)


@pytest.fixture(scope="module")
def wrong_files(tmp_path_factory, photos):
    """Files that are no photos, by the sentences that they get."""
    folder = tmp_path_factory.mktemp("wrong")
    deep = Image.fromarray(np.zeros((20, 30), np.uint16))
    deep.save(folder / "deep.png")
    whole = photos[0].read_bytes()
    (folder / "cut.png").write_bytes((folder / "deep.png").read_bytes()[:40])
    # Whole but for its size, 100,000 x 100,000.
    png = bytearray((folder / "deep.png").read_bytes())
    png[16:25] = (100_000).to_bytes(4) * 2 + b"\x08"
    (folder / "huge.png").write_bytes(png)
    (folder / "notes.txt").write_text("no photo")
    (folder / "empty.jpg").touch()
    (folder / "head.jpg").write_bytes(whole[:300])
    return {
        folder / "deep.png": "deep.png has 16 bits per channel; allowed: 8",
        folder / "huge.png": "100000x100000 pixels, more than this browser holds",
        folder / "notes.txt": "notes.txt is not an image that this browser reads",
        folder / "empty.jpg": "empty.jpg is empty",
        folder / "head.jpg": "head.jpg is damaged or cut short",
    }


def test_wrong_files_get_a_sentence(browser, url, wrong_files, photos):
    with Page(browser, url) as page:
        for path, sentence in wrong_files.items():
            assert sentence in page.give(path)
            assert page.tab.is_visible("#message")
        assert not page.tab.is_visible("#results")
        assert page.give(photos[0]) == ""  # the next photo takes the sentence away


def test_the_camera_is_refused_with_a_sentence(browser, url):
    with Page(browser, url) as page:
        page.tab.click("#camera")
        assert "The camera was refused" in page.answer()


def test_the_camera_runs_until_it_is_stopped(browser, url):
    with Page(browser, url, permissions=["camera"]) as page:
        page.tab.click("#camera")
        page.tab.wait_for_selector("#legend li")
        first = page.tab.text_content("#time")
        page.tab.wait_for_function(
            "first => document.querySelector('#time').textContent !== first", arg=first
        )
        image, name = page.saved("#save-ids")  # which stops it
        assert name == "camera.png" and min(image.size) > 100
        assert page.tab.get_attribute("#camera", "aria-pressed") == "false"


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_photos_are_dropped_and_pasted(browser, url, kind):
    event = {
        "drop": "new DragEvent('drop', {dataTransfer: data, bubbles: true})",
        "paste": "new ClipboardEvent('paste', {clipboardData: data, bubbles: true})",
    }[kind]
    with Page(browser, url) as page:
        page.tab.evaluate(f"""async () => {{
            const canvas = new OffscreenCanvas(40, 30);
            canvas.getContext("2d").fillRect(5, 5, 20, 20);
            const data = new DataTransfer();
            data.items.add(new File([await canvas.convertToBlob()], "given.png"));
            document.body.dispatchEvent({event});
        }}""")
        assert page.answer() == ""
        assert "40×30 pixels" in page.tab.text_content("#time")
        # Something else than a file gets a sentence.
        page.tab.evaluate(f"""() => {{
            const data = new DataTransfer();
            data.setData("text/plain", "words");
            document.body.dispatchEvent({event});
        }}""")
        page.tab.wait_for_selector("#message:visible")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_in_one_direction(browser, url, photos, scheme):
    viewport = {"width": 375, "height": 812}
    with Page(browser, url, viewport=viewport, color_scheme=scheme) as page:
        page.give(photos[0])
        assert page.tab.evaluate("document.documentElement.scrollWidth") <= 375
        # Each control has a name for screen readers, and Tab reaches it.
        names = page.tab.locator("button:visible, select:visible, input:visible")
        for control in names.all():
            control.focus()
            assert page.tab.evaluate("document.activeElement.matches(':focus-visible')")
        for role in ("button", "slider", "combobox"):
            for control in page.tab.get_by_role(role).all():
                assert control.aria_snapshot().split('"')[1:2], role


def test_a_model_that_is_not_there_gets_a_sentence(browser, site, tmp_path):
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    (copy / "model_int8.tflite").unlink()
    with served(copy) as url:
        context = browser.new_context()
        tab = context.new_page()
        tab.goto(url)
        tab.wait_for_selector("#message:visible")
        assert "answers 404 to model_int8.tflite" in tab.text_content("#message")
        context.close()
