"""Every link in the README and docs/ leads to a file, and to a heading that is in it."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]


def links(page: Path) -> list[str]:
    """What the page links to within the repository, code left out."""
    text = re.sub(r"```.*?```|`[^`\n]*`|\n {4}[^\n]*", "", page.read_text(), flags=re.DOTALL)
    return re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ +(.*?) *#*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_leads_somewhere(page):
    dead = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


def test_every_page_is_linked_to():
    linked = {
        (page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links(page)
    }
    assert not [str(page) for page in PAGES[1:] if page not in linked]


def test_the_index_of_the_docs_names_every_page_of_the_folder():
    index = CHECKOUT / "docs" / "README.md"
    named = {(index.parent / link).resolve() for link in links(index)}
    assert not [page.name for page in index.parent.glob("*.md") if page not in {*named, index}]


def test_headings_are_named_as_github_names_them(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# The search: keys of `search`\n\n## Is it real?\n\n```\n# no heading\n```\n")
    assert anchors(page) == {"the-search-keys-of-search", "is-it-real"}
