"""Draws docs/rover-terrains.png: every kind of ground and layout, for people to recognise.

python tests/benchmarks/rover_sheet.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.rover import furniture
from envs.rover import terrain as ground
from envs.rover.camera import BADGR_LENS, Camera, camera_axes
from envs.rover.ground import heights
from envs.rover.map_view import WorldMap
from envs.rover.scene import build_views
from envs.rover.world import Solid, World
from envs.rover.worlds import Layout, make_world

SHEET = Path(__file__).parents[2] / "docs" / "rover-terrains.png"
WIDTH, HEIGHT, BAR, COLUMNS = 256, 192, 16, 4


def main() -> None:
    generator = np.random.default_rng(3)
    grass = ground.DIRT
    tiles = [
        *(patch(kind, 11.0) for kind in (ground.PAVEMENT, ground.LAWN, ground.DIRT)),
        patch(ground.RUTS, 11.0, beside=ground.DIRT),
        patch(ground.COBBLE, 11.0),
        patch(ground.THIN_GRASS, 10.2, beside=grass),
        patch(ground.THICK_GRASS, 10.2, beside=grass),
        patch(
            ground.LAWN, 10.2, "kerb, post, tree",
            [
                *furniture.kerb(11.9, 9, 12.6, 13.5), *furniture.post(generator, 12.2, 11.2),
                *furniture.tree(generator, 15, 14),
            ],
        ),
        patch(
            ground.DIRT, 10.8, "rock, log",
            [*furniture.rock(generator, 12.4, 11.2), *furniture.log(generator, 12.4, 12.8)],
        ),
        trip("urban", 0, 1), trip("offroad", 1, 1), trip("offroad", 1, 1, swap_colours=True),
        trip("indoor", 0, 2), trip("urban", 2, 2, as_seen=True), plan("urban"), plan("offroad"),
    ]  # fmt: skip
    rows = [np.concatenate(tiles[i : i + COLUMNS], 1) for i in range(0, len(tiles), COLUMNS)]
    sheet = Image.fromarray(np.concatenate(rows))
    sheet.quantize(160, dither=Image.Dither.NONE).save(SHEET, optimize=True)
    print(f"{SHEET.name}: {SHEET.stat().st_size / 1000:.0f} kB")


def patch(kind: int, x: float, text: str = "", solids: list[Solid] | None = None, beside: int = 0) -> Any:
    """A kind of ground that begins 11.25 m along x, seen from x."""
    kinds = np.full((321, 321), beside, np.uint8)
    kinds[:, 150:] = kind
    nowhere = np.zeros((1, 3))
    world = World(
        "sheet", heights(kinds, np.random.default_rng(1)), kinds, tuple(solids or ()), (0, 0, 24, 24),
        nowhere, nowhere[:, :2],
    )  # fmt: skip
    return photograph(world, (x, 12.0, 0.15), text or ground.KINDS[kind].name)


def trip(layout: Layout, index: int, which: int, *, swap_colours: bool = False, as_seen: bool = False) -> Any:
    world = make_world(layout, "train", index, swap_colours=swap_colours)
    text = f"{layout}, as agents see it: 128 x 96" if as_seen else layout + ", colours swapped" * swap_colours
    return photograph(world, world.starts[which], text, as_seen)


def photograph(world: World, pose: Any, text: str, as_seen: bool = False) -> Any:
    x, y, heading = pose
    c, s = np.cos(heading), np.sin(heading)
    axes = camera_axes(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]))
    camera = Camera(grain=2.0) if as_seen else Camera(BADGR_LENS.scaled(4))
    image, _ = camera.picture(build_views(world).scene, np.array([x, y, world.height_at(x, y) + 0.35]), axes)
    filter_ = Image.Resampling.NEAREST if as_seen else Image.Resampling.LANCZOS
    return titled(Image.fromarray(image).resize((WIDTH, HEIGHT), filter_), text)


def plan(layout: Layout) -> Any:
    world = make_world(layout, "train", 1)
    x, y, heading = world.starts[0]
    image = Image.fromarray(WorldMap(world, 8.0).draw(None, (x, y, heading), world.goals[0]))
    image.thumbnail((WIDTH, HEIGHT - BAR))
    tile = Image.new("RGB", (WIDTH, HEIGHT))
    tile.paste(image, ((WIDTH - image.width) // 2, 0))
    return titled(tile, f"{layout}, from above")


def titled(image: Image.Image, text: str) -> Any:
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    pen.rectangle((0, HEIGHT - BAR, WIDTH, HEIGHT), fill=(25, 28, 30))
    pen.text((WIDTH / 2, HEIGHT - BAR / 2), text, fill=(240, 240, 240), font=font, anchor="mm")
    return np.asarray(image)


if __name__ == "__main__":
    main()
