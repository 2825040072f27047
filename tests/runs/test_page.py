"""The web page: self-contained, without names, right in its numbers, readable in both schemes."""

from __future__ import annotations

import getpass
import html
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mpstui.domain.events import DivergenceDetected
from mpstui.domain.investigation import Evidence, Investigation, OpAtFault, Verdict
from mpstui.domain.series import Series
from mpstui.domain.summary import measure
from mpstui.runs.export import export, export_text
from mpstui.runs.files import write_json
from mpstui.runs.notes import write_note
from mpstui.runs.page.curves import BOX, PageCurve, chart
from tests.runs.test_export import LOG, evaluated, view_of, views_of, window

FINDING = Investigation(
    workload="vae",
    device="cpu@fault=neg-stride0",
    verdict=Verdict.FAULTY_OP,
    kind="wrong result",
    summary="aten.neg.default in backward is wrong <here>",
    op=OpAtFault(op="aten.neg.default", phase="backward", index=40, step=1, source="vae.py:67"),
    evidence=(Evidence(tried="the same call alone", outcome="wrong 3 of 3 times"),),
    unreferenced=("aten.rand (draws)",),
    notes=("SIMULATED fault neg-stride0",),
)


class Text(HTMLParser):
    """A page's words, its addresses and its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.elements: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture
def page(tmp_path: Path) -> str:
    cpu, other = views_of(tmp_path / "runs", "cpu,cpu@fault=neg-stride0")
    folder = other.run.path / "investigations" / "20261126-081542"
    folder.mkdir(parents=True)
    write_json(folder / "investigation.json", FINDING)
    (folder / "repro.py").write_text(f"# {tmp_path}/x.py\nassert 1 < 2\n")
    write_note(cpu.run, "lid <closed> & quiet")
    return export_text([cpu, other], "html")


def test_it_holds_table_alarm_investigation_and_settings(page: str) -> None:
    text = Text(page).text
    for words in (
        "cpu@fault=neg-stride0",
        "Simulated fault. One of these devices was made to go wrong on purpose",
        "aten.neg.default in backward is wrong <here>",
        "wrong 3 of 3 times",
        "Not checked: aten.rand (draws)",
        "assert 1 < 2",
        "lid <closed> & quiet",
        "M1 (article, 2022)",
        "batch size 64",
    ):
        assert words in text, words


def test_it_needs_no_other_file_and_runs_no_script(page: str) -> None:
    read = Text(page)
    assert read.addresses == []
    assert not {"script", "link", "iframe", "img"} & set(read.elements)
    assert "url(" not in page
    assert "@import" not in page


def test_it_holds_no_folder_and_no_users_name(page: str, tmp_path: Path) -> None:
    assert str(tmp_path) not in page
    assert str(Path.home()) + "/" not in page
    if len(getpass.getuser()) > 4:
        assert getpass.getuser() not in page


def test_an_alarm_stands_at_its_run_and_in_the_chart(tmp_path: Path) -> None:
    lost = DivergenceDetected(at=1.0, step=4, value="nan", last_finite=0.1)
    text = Text(export_text([view_of(tmp_path / "runs", [*LOG[:2], lost])], "html")).text
    assert "▲ not finite at step 4" in text
    assert "cpu: alarm at step 4" in text


def test_a_factor_is_to_the_first_run_of_the_same_settings(tmp_path: Path) -> None:
    devices = "cpu@set.lr=0.1,cpu@set.lr=0.2,cpu@threads=1@set.lr=0.2"
    views = views_of(tmp_path, devices)
    for view, seconds in zip(views, (10.0, 20.0, 5.0), strict=True):
        view.catch_up()
        view.run.write_summary(replace(view.summary(), epoch_seconds=measure([seconds])))
    page = Text(export_text(views, "html")).text
    assert "settings differ: lr=0.1 / lr=0.2" in page
    assert re.findall(r"[0-9.]+× [a-z]\S*(?: lr=\S+)?", page) == ["4.00× cpu lr=0.2,"]


def test_a_run_without_a_step_has_a_page_without_curves(tmp_path: Path) -> None:
    page = export_text([view_of(tmp_path / "runs", [])], "html")
    assert "polyline" not in page.partition("</style>")[2]
    assert "Curves" not in page


def test_a_file_is_named_after_the_runs(tmp_path: Path) -> None:
    view = view_of(tmp_path / "runs", [window(1, [1.0, 2.0]), evaluated(2, 0.5)])
    (path,) = export([view], "html", tmp_path)
    assert path.name == f"{view.run.id}.html"


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=60),
    st.booleans(),
)
def test_a_curve_stays_in_its_box(losses: list[float], from_zero: bool) -> None:
    series = Series()
    series.append(range(1, len(losses) + 1), losses)
    drawn = chart("loss", [PageCurve("cpu", series, alarm_at=len(losses))], from_zero)
    if drawn is None:
        return
    for _, points in drawn.lines:
        for point in points.split():
            x, y = map(float, point.split(","))
            assert BOX.left <= x <= BOX.right
            assert BOX.top <= y <= BOX.bottom
    for place, _ in (*drawn.alarms, *drawn.x_labels):
        assert BOX.left <= float(place) <= BOX.right + 0.1
    for place, _ in drawn.y_labels:
        assert BOX.top - 0.1 <= float(place) <= BOX.bottom + 0.1


def test_values_are_drawn_at_their_place() -> None:
    series = Series()
    series.append([1, 2, 3], [0.0, 10.0, 5.0])
    drawn = chart("loss", [PageCurve("cpu", series)])
    assert drawn is not None
    middle_x, middle_y = (BOX.left + BOX.right) / 2, (BOX.top + BOX.bottom) / 2
    ((_, points),) = drawn.lines
    assert points == (
        f"{BOX.left:.1f},{BOX.bottom:.1f} {middle_x:.1f},{BOX.top:.1f} "
        f"{BOX.right:.1f},{middle_y:.1f}"
    )
    steep = Series()
    steep.append([1, 2, 3], [1.0, 1e4, 1e8])
    drawn = chart("loss", [PageCurve("cpu", steep)])
    assert drawn is not None
    assert drawn.log
    assert f"{middle_x:.1f},{middle_y:.1f}" in drawn.lines[0][1]


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.1."""
    digits = colour.lstrip("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_colour_of_words_and_curves_has_contrast_in_both_schemes(page: str) -> None:
    schemes = re.findall(r":root \{([^}]*)\}", page)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]+);", scheme))
        paper = luminance(colours["paper"])
        for name in ("ink", "soft", "bad", "good", "s1", "s2", "s3", "s4", "s5", "s6"):
            light, dark = sorted((luminance(colours[name]), paper), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, colours[name])


MEASURE = """<!doctype html><title>-</title><iframe srcdoc="{page}" style="width:{width}px;
height:600px;border:0" onload="document.title = this.contentDocument.documentElement.scrollWidth
+ ' ' + this.contentDocument.querySelectorAll('svg polyline').length"></iframe>"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 768, 1200])
def test_a_browser_shows_it_without_scrolling_sideways(
    page: str, tmp_path: Path, width: int
) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(MEASURE.format(page=html.escape(page), width=width))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", wrapper.as_uri()]
    shown = subprocess.run([browser, *options], capture_output=True, text=True, check=True).stdout
    title = re.search(r"<title>(\d+) (\d+)</title>", shown)
    assert title is not None, shown[:300]
    assert int(title[1]) <= width
    assert int(title[2]) > 0
