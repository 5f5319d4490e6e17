"""The page in a real browser, without a window: figures are drawn, and nothing is amiss."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from search.report.page import page
from search.report.reported_run import read
from search.run.run_folder import RunFolder
from tests.search.report.played_run import play, several

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None,
        reason="needs a browser: `apt-get install chromium-headless-shell`, or Chrome",
    ),
]

FIGURES = {"curves", "landscape", "parallel", "importance", "history", "validation", "flatness"}
DARK, LIGHT = "0", "1"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("browser")
    folder = RunFolder(place / "run")
    play(several(search={"trials": 6}), folder)  # importance asks for 20 of an algorithm
    (place / "report.html").write_text(page(read(folder.uri)))
    return place / "report.html"


def browse(file: Path, *options: str, scheme: str = LIGHT) -> tuple[str, list[str]]:
    """Standard output, and what was written to the console."""
    assert BROWSER is not None
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--window-size=1280,9000", "--virtual-time-budget=30000"),
            *("--enable-logging=stderr", f"--blink-settings=preferredColorScheme={scheme}"),
            *(f"--user-data-dir={file.parent / 'profile'}", *options, file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


@pytest.mark.parametrize(
    ("scheme", "ink"), [(LIGHT, "rgb(27, 31, 36)"), (DARK, "rgb(232, 234, 237)")]
)
def test_every_figure_is_drawn_in_the_colours_of_light_and_dark(file, scheme, ink):
    html, console = browse(file, "--dump-dom", scheme=scheme)
    assert console == []
    assert "data-drawn" in html[:300]
    figures = re.split(r"<figure ", html)[1:]
    drawn = {re.match(r'id="(\w+)"', figure)[1]: figure for figure in figures}
    assert drawn.keys() == FIGURES
    for figure in drawn.values():
        assert 'class="main-svg"' in figure
        assert f"fill: {ink}" in figure
        assert re.search(r'class="(?:point|js-line|hm|tracehm)', figure)
        # No name of a colour was left for the browser to make out.
        assert 'style="fill: var(' not in figure


def test_light_and_dark_look_different_and_neither_is_blank(file):
    from PIL import Image

    shades = {}
    for scheme in (LIGHT, DARK):
        picture = file.parent / f"{scheme}.png"
        browse(file, f"--screenshot={picture}", scheme=scheme)
        with Image.open(picture) as image:
            pixels = image.convert("L").resize((64, 450))
            shades[scheme] = sum(pixels.tobytes()) / (64 * 450)
            assert len(image.convert("RGB").getcolors(1 << 24)) > 100
    assert shades[LIGHT] > 200 > 80 > shades[DARK]


def test_it_prints_light_on_several_pages(file):
    printed = file.parent / "report.pdf"
    browse(file, f"--print-to-pdf={printed}", scheme=DARK)
    content = printed.read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) > 3
