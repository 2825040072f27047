"""Pictures as half blocks, and what is said about files that are none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from PIL import Image
from textual.app import App, ComposeResult

from mpstui.ui.widgets import picture as module
from mpstui.ui.widgets.picture import UPPER, Blocks, Picture, crop_to_tiles, half_blocks

BLACK, WHITE, RED, BLUE = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255)


class PictureApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Picture()


def tiny() -> Image.Image:
    image = Image.new("RGB", (2, 2))
    image.putpixel((0, 0), BLACK)
    image.putpixel((1, 0), WHITE)
    image.putpixel((0, 1), RED)
    image.putpixel((1, 1), BLUE)
    return image


def shown(app: App[None]) -> str:
    picture = app.query_one(Picture)
    return "\n".join(picture.render_line(row).text for row in range(picture.size.height))


def size_of(rows: list[list[Blocks]]) -> tuple[int, int]:
    (width,) = {sum(len(text) for text, _, _ in row) for row in rows}
    return width, len(rows)


def test_a_cell_holds_the_upper_pixel_and_the_lower() -> None:
    assert half_blocks(tiny(), 2, 1) == [[(UPPER, BLACK, RED), (UPPER, WHITE, BLUE)]]


def test_equal_neighbours_are_one_run() -> None:
    image = Image.new("RGB", (3, 2), RED)
    assert half_blocks(image, 3, 1) == [[(UPPER * 3, RED, RED)]]


def test_an_odd_last_row_has_nothing_below() -> None:
    image = Image.new("L", (1, 3), 255)
    assert half_blocks(image, 1, 2) == [[(UPPER, WHITE, WHITE)], [(UPPER, WHITE, None)]]


def test_grey_becomes_colour() -> None:
    assert half_blocks(Image.new("L", (1, 2), 128), 1, 1) == [[(UPPER, (128,) * 3, (128,) * 3)]]


def test_room_is_used_by_whole_factors_only() -> None:
    rows = half_blocks(tiny(), 7, 3)  # 7 × 6 pixels: three times, sharp
    assert rows == [
        [(UPPER * 3, BLACK, BLACK), (UPPER * 3, WHITE, WHITE)],
        [(UPPER * 3, BLACK, RED), (UPPER * 3, WHITE, BLUE)],
        [(UPPER * 3, RED, RED), (UPPER * 3, BLUE, BLUE)],
    ]


@pytest.mark.parametrize(
    ("pixels", "room", "cells"),
    [
        ((100, 100), (50, 10), (20, 10)),
        ((100, 100), (10, 50), (10, 5)),
        ((224, 112), (60, 40), (60, 15)),
        ((1, 1000), (40, 10), (1, 10)),
        ((1000, 1), (40, 10), (40, 1)),
    ],
)
def test_too_large_pictures_shrink_in_proportion(
    pixels: tuple[int, int], room: tuple[int, int], cells: tuple[int, int]
) -> None:
    assert size_of(half_blocks(Image.new("RGB", pixels), *room)) == cells


async def test_it_is_centred(tmp_path: Path) -> None:
    path = tmp_path / "sample.png"
    Image.new("L", (30, 20), 200).save(path)
    app = PictureApp()
    async with app.run_test(size=(40, 20)) as pilot:
        app.query_one(Picture).show(path)
        await pilot.pause()
        rows = shown(app).split("\n")
        assert rows[4].strip() == rows[15].strip() == ""
        assert rows[5] == rows[14] == (UPPER * 30).center(40)


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    app = PictureApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.query_one(Picture).show(tmp_path / "gone.png")
        await pilot.pause()
        assert shown(app).strip() == "gone.png: no such file"


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "chunk", "folder", "pipe"])
async def test_a_broken_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "broken.png"
    Image.effect_noise((64, 64), 80).save(path)
    whole = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(whole[:200])
        case "text":
            path.write_text("no picture")
        case "empty":
            path.write_bytes(b"")
        case "chunk":
            path.write_bytes(whole[:8] + b"\x00\x00\x00\x04IHDR" + whole[16:])
        case "folder":
            path.unlink()
            path.mkdir()
        case "pipe":
            path.unlink()
            if sys.platform == "win32":
                pytest.skip("has no named pipes in folders")
            os.mkfifo(path)  # reading it would wait for ever
    app = PictureApp()
    async with app.run_test(size=(30, 12)) as pilot:
        app.query_one(Picture).show(path)
        await pilot.pause()
        assert shown(app).strip().startswith("broken.png: ")
        assert UPPER not in shown(app)


async def test_a_file_is_read_again_only_when_it_or_the_size_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[int, int]] = []

    def counted(image: Image.Image, width: int, height: int) -> list[list[Blocks]]:
        reads.append((width, height))
        return half_blocks(image, width, height)

    monkeypatch.setattr(module, "half_blocks", counted)
    path = tmp_path / "sample.png"
    Image.new("L", (4, 4), 10).save(path)
    app = PictureApp()
    async with app.run_test(size=(40, 20)) as pilot:
        picture = app.query_one(Picture)
        picture.show(path)
        await pilot.pause()
        picture.show(path)
        picture.refresh()
        await pilot.pause()
        assert reads == [(40, 20)]
        Image.new("L", (8, 8), 10).save(path)
        os.utime(path, ns=(1, 1))
        picture.show(path)
        await pilot.pause()
        assert len(reads) == 2
        await pilot.resize_terminal(50, 20)
        await pilot.pause()
        assert reads[-1] == (50, 20)


def test_a_picture_of_any_mode_and_shape_is_drawn() -> None:
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "I", "I;16", "F"):
        for size in ((1, 1), (3000, 1), (1, 3000), (280, 56)):
            image = Image.new(mode, size)
            for width, height in ((1, 1), (38, 4)):
                rows = half_blocks(crop_to_tiles(image, 28, width, height), width, height)
                assert len(rows) <= height
                assert {sum(len(text) for text, _, _ in row) for row in rows} <= {*range(width + 1)}


async def test_whatever_a_decoder_raises_is_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "odd.png"
    Image.new("L", (4, 4)).save(path)

    def fail(*_: object) -> None:
        raise KeyError("constructed")

    monkeypatch.setattr(module, "half_blocks", fail)
    app = PictureApp()
    async with app.run_test(size=(40, 20)) as pilot:
        app.query_one(Picture).show(path)
        await pilot.pause()
        assert "constructed" in shown(app)


async def test_nothing_is_shown_for_no_path(tmp_path: Path) -> None:
    path = tmp_path / "sample.png"
    Image.new("L", (4, 4), 10).save(path)
    app = PictureApp()
    async with app.run_test(size=(40, 20)) as pilot:
        picture = app.query_one(Picture)
        picture.show(path)
        await pilot.pause()
        picture.show(None)
        await pilot.pause()
        assert shown(app).strip() == ""


@pytest.mark.parametrize(
    ("width", "height", "shown"),
    [(28, 21, (60, 90)), (40, 60, (60, 240)), (1, 1, (30, 60)), (400, 400, (240, 240))],
)
def test_only_tiles_that_can_be_made_out_are_shown(
    width: int, height: int, shown: tuple[int, int]
) -> None:
    grid = Image.new("L", (240, 240))
    assert crop_to_tiles(grid, 30, width, height).size == shown
