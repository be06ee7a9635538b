"""Writing of a model card, which never replaces a README.md of the user's own."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gcnet_tf.config import Config
from gcnet_tf.export.card.facts import gather
from gcnet_tf.export.card.front_matter import front_matter
from gcnet_tf.export.card.text import card_text
from gcnet_tf.files.results import write_result
from gcnet_tf.models import Segmentor

CARD = "README.md"
_SEAL = re.compile(
    r"<!-- gcnet_tf export, SHA-256 of the lines above: (\w{64}) -->\n\Z"
)


def write_card(
    model: Segmentor, config: Config, out: Path, metrics: Mapping[str, Any]
) -> str:
    """Writes README.md for the exports in a folder that hold the weights of a model.

    Args:
        model: the trained model.
        config: its configuration.
        out: the folder, with at least one export of this model.
        metrics: metrics of the run, see `facts.metrics_of_run`.

    Returns:
        A sentence that tells where the card is, or why there is none.

    Raises:
        UserError: when the file cannot be written.
    """
    path = out / CARD
    if path.exists() and not _is_ours(path):
        return f"{path} stays as it is: it is not a card that an export has written."
    facts = gather(model, config, out, metrics)
    if not facts.files:
        return f"No model card: {out} holds no export of this model."
    text = f"{front_matter(facts)}\n{card_text(facts)}\n"
    write_result(path, text + _seal(text))
    return f"Model card: {path}"


def _seal(text: str) -> str:
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()
    return f"<!-- gcnet_tf export, SHA-256 of the lines above: {digest} -->\n"


def _is_ours(path: Path) -> bool:
    """Tells whether a file is a card as an export wrote it, and nobody has changed."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    match = _SEAL.search(text)
    return match is not None and _seal(text[: match.start()]) == match[0]
