"""Pages: their links lead somewhere, and the README stays short."""

import re

import pytest
from script_server import REPOSITORY

PAGES = [
    path
    for pattern in ("*.md", "docs/*.md", "docs/results/*.md", "configs/*.md")
    for path in sorted(REPOSITORY.glob(pattern))
]


def anchor(heading):
    """Turns a heading into the anchor that GitHub gives it."""
    words = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return words.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    # Commands have brackets of their own.
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(("http://", "https://")):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name}: {target}"
        if heading:
            headings = re.findall(r"(?m)^#+ (.*)$", file.read_text(encoding="utf-8"))
            assert heading in map(anchor, headings), f"{page.name}: {target}"


def test_every_page_is_in_the_index():
    index = (REPOSITORY / "docs" / "README.md").read_text()
    for page in sorted((REPOSITORY / "docs").rglob("*.md")):
        name = page.relative_to(REPOSITORY / "docs").as_posix()
        assert name == "README.md" or f"({name})" in index, name


def test_the_readme_is_short():
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 200


def test_sections_that_comments_cite_exist():
    reference = (REPOSITORY / "docs" / "reference.md").read_text()
    known = set(re.findall(r"(?m)(?:^## |\*\*)([0-9.]*[0-9])", reference))
    for folder in ("gcnet_tf", "scripts", "tests"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            text = path.read_text()
            for section in re.findall(r"reference\.md, sections? ([0-9.]*[0-9])", text):
                assert section in known, f"{path}: section {section}"
