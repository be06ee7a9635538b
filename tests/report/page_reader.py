"""A reader of pages: their addresses, tables and numbers, by the standard library."""

import re
from html.parser import HTMLParser

# Elements that may run or load something, or send the reader away.
FORBIDDEN = {
    *("script", "iframe", "object", "embed", "link", "base", "form", "audio"),
    *("video", "source", "template", "portal", "frame", "applet", "foreignobject"),
}


class Page(HTMLParser):
    """A page that is read once.

    Attributes:
        elements: (tag, attributes) in order.
        addresses: all values of attributes and styles that name a place.
        numbers: by class of the nearest cell or tile, the exact numbers in it.
        text: the text without tags and styles.
    """

    def __init__(self, html):
        super().__init__()
        self.elements, self.addresses, self.numbers, texts = [], [], {}, []
        self._texts, self._names, self._skips = texts, [], 0
        self.feed(html)
        self.close()
        self.text = " ".join(" ".join(texts).split())

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.elements.append((tag, values))
        for key, value in attributes:
            if key in (
                "href",
                "src",
                "srcset",
                "action",
                "data",
                "poster",
                "xlink:href",
            ):
                self.addresses.append(value)
            self.addresses += re.findall(r"url\(([^)]*)\)", value or "")
        self._skips += tag == "style"
        if tag in ("td", "dl", "div", "th"):
            self._names = (values.get("class") or "").split()
        if tag == "data":
            for name in self._names:
                self.numbers.setdefault(name, []).append(float(values["value"]))

    def handle_endtag(self, tag):
        self._skips -= tag == "style"

    def handle_data(self, data):
        if self._skips:
            self.addresses += re.findall(r"url\(([^)]*)\)|@import", data)
        else:
            self._texts.append(data)

    def check(self):
        """Checks what holds for every page."""
        assert not {tag for tag, _ in self.elements} & FORBIDDEN
        ids = [values["id"] for _, values in self.elements if "id" in values]
        assert len(ids) == len(set(ids))
        for address in self.addresses:
            inside = address.startswith("#") and address[1:] in ids
            assert inside or address.startswith("data:image/"), address[:80]
        for tag, values in self.elements:
            assert not [key for key in values if key.startswith("on")]
            if tag == "img":
                assert values["alt"]
            if tag == "svg":
                assert values["aria-label"]
        return self
