"""The documents that come with Lotgate, as pages: Markdown in, HTML out, each heading with its address.

Read from the installation and nowhere else, so that they are about this release and there at night without any
internet. Raw HTML in a document is shown as text, and a link leads within the console or out of it, never to a script.
What may not enter: routes.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from msgspec import Struct

from api.runbook import HELP, anchor

_HERE = Path(__file__).resolve().parent
#: Beside this file where Lotgate is installed from a wheel; where it is run from its source, at the top.
DOCUMENTS = next(p for p in (_HERE / "docs", _HERE.parents[1] / "docs") if (p / "runbook.md").exists())
#: Files that documents link to and that are shown as they are.
FILES = {".yaml": "text/plain; charset=utf-8", ".json": "application/json"}
#: Where the files of alerts say that the runbook is, when nobody has said where this installation is.
PUBLISHED = "https://github.com/lotgate/lotgate/blob/main/docs/"


class Section(Struct, frozen=True):
    """A heading of a document."""

    anchor: str
    title: str
    level: int


#: Around what is drawn where the documents are published. Here it is text, and the words around it say the same.
_FOLDED, _UNFOLDED = "<details><summary>A drawing, as Mermaid writes it</summary>", "</details>"
#: Letters from which on a name in the text may go on in the next line.
_LONG = 20


class Document(Struct, frozen=True):
    """One document, rendered."""

    name: str
    title: str
    html: str
    sections: tuple[Section, ...]


def names() -> tuple[str, ...]:
    """Every document, by name."""
    return tuple(sorted(path.stem for path in DOCUMENTS.glob("*.md")))


@cache
def document(name: str) -> Document:
    """A document by its name; raises KeyError where there is none."""
    if name not in names():
        raise KeyError(name)
    return rendered(name, (DOCUMENTS / f"{name}.md").read_text(encoding="utf-8"))


@cache
def file(path: str) -> tuple[str, str]:
    """Text and media type of a file that documents link to; raises KeyError where there is none."""
    found = {str(p.relative_to(DOCUMENTS)): p for p in DOCUMENTS.rglob("*") if p.suffix in FILES}
    return found[path].read_text(encoding="utf-8"), FILES[found[path].suffix]


def rendered(name: str, text: str) -> Document:
    """``text`` as a document."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    sections = _sections(tokens)
    for token in tokens:
        # The policy of the console's pages allows no style in an element.
        if "right" in str(token.attrs.pop("style", "")):
            token.attrs["class"] = "number"
        if token.type in ("fence", "code_block"):
            token.attrs["tabindex"] = "0"
        for inner in token.children or ():
            if inner.type == "link_open":
                inner.attrs["href"] = _there(str(inner.attrs["href"]), name)
            elif inner.type == "code_inline" and len(inner.content) >= _LONG:
                inner.type, inner.content = "html_inline", f"<code>{_breakable(inner.content)}</code>"
    html = markdown.renderer.render(list(_folded(tokens)), markdown.options, {})
    html = html.replace("<table>", '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>')
    html = html.replace("</table>", "</table></div>").replace("<pre><code", '<pre tabindex="0"><code')
    return Document(name, sections[0].title if sections else name, html, tuple(sections))


def _breakable(words: str) -> str:
    """A long name, which may go on in the next line of a narrow column where a reader would break it."""
    return re.sub(r"([/_])(?=\w)", r"\1<wbr>", escapeHtml(words))


def _folded(tokens: list[Token]) -> Iterator[Token]:
    """Drawings between what folds them up."""
    for token in tokens:
        is_drawing = token.type == "fence" and token.info.strip() == "mermaid"
        if is_drawing:
            yield Token("html_block", "", 0, content=_FOLDED)
        yield token
        if is_drawing:
            yield Token("html_block", "", 0, content=_UNFOLDED)


def _sections(tokens: list[Token]) -> list[Section]:
    """Give each heading its address; a second one of the same name gets a number, as the usual renderers do."""
    sections: list[Section] = []
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            title = re.sub(r"[`*]", "", tokens[at + 1].content)
            made = anchor(tokens[at + 1].content)
            again = sum(1 for one in sections if re.fullmatch(rf"{re.escape(made)}(-\d+)?", one.anchor))
            token.attrs["id"] = made if not again else f"{made}-{again}"
            sections.append(Section(str(token.attrs["id"]), title, int(token.tag[1])))
    return sections


def _there(link: str, name: str) -> str:
    """Where a link of document ``name`` leads, seen from the console."""
    if link.startswith("#") or re.match(r"https?://", link):
        return link
    path, _, section = link.partition("#")
    target = PurePosixPath(path)
    if target.parts[0] == "..":
        return PUBLISHED.removesuffix("docs/") + str(PurePosixPath(*target.parts[1:]))
    there = f"{HELP}/{target.with_suffix('') if target.suffix == '.md' else target}"
    return there + (f"#{section}" if section else "")
