"""Charts of a page: SVGs in the page's own colours, light or dark."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from markupsafe import Markup, escape

from gcnet_tf.report.counted.calibration import Calibration
from gcnet_tf.report.counted.objects import SizeBin
from gcnet_tf.report.run_log import Curve

# Colours that stand for variables of the page's style sheet. Matplotlib writes them.
INK, QUIET, GRID, GROUND = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04"
_SERIES = tuple(f"#0a0b{number:02x}" for number in range(16, 22))
_VARIABLES = {
    **{INK: "--ink", QUIET: "--quiet", GRID: "--line", GROUND: "--card"},
    **{colour: f"--series-{number}" for number, colour in enumerate(_SERIES)},
}
# In inches: at this width letters have their own size on a phone.
_WIDTH, _HEIGHT = 3.6, 2.4
# Share of the pixels from which on a point is drawn.
_LEAST_SHARE = 1e-4
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gcnet_tf",
    "font.size": 8.5,
    "text.color": INK,
    "axes.facecolor": "none",
    "axes.edgecolor": GRID,
    "axes.labelcolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.5,
}


def series(number: int) -> str:
    """Returns the colour of a model, as a variable of the style sheet."""
    return f"var({_VARIABLES[_colour(number)]})"


def _colour(number: int) -> str:
    return _SERIES[number % len(_SERIES)]


def curve_chart(
    name: str,
    alt: str,
    curves: Sequence[tuple[int, Curve]],
    percent: bool = False,
    markers: bool = False,
) -> Markup:
    """Draws curves over the iterations.

    Args:
        name: a word for the elements' names, of its own on the page.
        alt: description for readers who do not see it.
        curves: (number of the model, its points).
        percent: whether values are shares of 1.
        markers: whether points are marked.
    """

    def draw(axes: Any) -> None:
        for number, curve in curves:
            x = [iteration for iteration, _ in curve]
            y = [100 * value if percent else value for _, value in curve]
            marker = "o" if markers or len(curve) == 1 else None
            axes.plot(x, y, color=_colour(number), marker=marker, markersize=3)
        axes.set_xlabel("iteration")
        if percent:
            axes.set_ylabel("%")
        axes.margins(x=0.02)
        axes.locator_params(axis="x", nbins=5, integer=True)
        axes.locator_params(axis="y", nbins=5)
        axes.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=False)

    return _svg(name, alt, draw)


def reliability_chart(
    name: str, alt: str, models: Sequence[tuple[int, Calibration]]
) -> Markup:
    """Draws accuracy over probability, above the pixels' share of each probability."""

    def draw(axes: Any, low: Any) -> None:
        axes.plot([0, 100], [0, 100], color=QUIET, linewidth=0.9, linestyle=(0, (3, 3)))
        for number, calibration in models:
            # The accuracy of a few pixels says nothing, and would draw the eye.
            points = [p for p in calibration.points() if p[2] >= _LEAST_SHARE]
            x, y, shares = (
                [100 * value for value in values] for values in zip(*points)
            )
            colour = _colour(number)
            axes.plot(x, y, color=colour, marker="o", markersize=3.2)
            width = 5 / len(models)
            offset = (number - (len(models) - 1) / 2) * width
            low.bar([v + offset for v in x], shares, width=width, color=colour)
        axes.set(xlim=(0, 101), ylim=(0, 101), ylabel="right, %")
        low.set_xlabel("probability of the predicted class, %")
        low.set_ylabel("pixels, %")
        low.locator_params(axis="y", nbins=2)
        low.grid(axis="x", visible=False)

    return _svg(name, alt, draw, height=3.3, parts=(3.4, 1))


def size_chart(
    name: str, alt: str, models: Sequence[tuple[int, list[SizeBin]]]
) -> Markup:
    """Draws the missed share of objects over their size."""

    def draw(axes: Any) -> None:
        width = 0.8 / len(models)
        for place, (number, bins) in enumerate(models):
            x = [i + (place - (len(models) - 1) / 2) * width for i in range(len(bins))]
            heights = [100 * size.missed for size in bins]
            axes.bar(x, heights, width=0.9 * width, color=_colour(number))
        bins = models[0][1]
        labels = [f"{size.title}\n{size.number:,}" for size in bins]
        axes.set_xticks(range(len(bins)), labels)
        axes.set_xlabel("side in pixels; number of objects")
        axes.set_ylabel("missed pixels, %")
        axes.grid(axis="x", visible=False)
        axes.set_ylim(bottom=0)
        axes.locator_params(axis="y", nbins=5)

    return _svg(name, alt, draw, height=3.1)


def _svg(
    name: str,
    alt: str,
    draw: Callable[..., None],
    height: float = _HEIGHT,
    parts: Sequence[float] = (1,),
) -> Markup:
    """Draws axes above each other, whose heights are as `parts`."""
    # Imported here, because it takes a second.
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        figure.patch.set_visible(False)
        grid = figure.subplots(
            len(parts), 1, sharex=True, height_ratios=parts, squeeze=False
        )
        draw(*grid[:, 0])
        file = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing)
    return _inlined(file.getvalue(), name, alt)


@contextmanager
def _style() -> Iterator[None]:
    """Draws in our style, whatever the user's own is, and leaves that as it was."""
    from matplotlib import rc_context, rcParamsDefault

    known = {
        key: value for key, value in rcParamsDefault.items() if "backend" not in key
    }
    with rc_context({**known, **_STYLE}):
        yield


def _inlined(text: str, name: str, alt: str) -> Markup:
    """Turns a file into an element of a page: without addresses, names of its own."""
    body = text[text.index(">", text.index("<svg")) + 1 :]
    (box,) = re.findall(r'viewBox="([\d. ]+)"', text)
    # Matplotlib's style sheet would be that of the whole page.
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", body)
    body = re.sub(r"font-family: [^;\"]*;?", "", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    head = f'<svg viewBox="{box}" role="img" aria-label="{escape(alt)}">'
    return Markup(head + body)
