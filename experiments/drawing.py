"""The picture of a moment: the environment's frame, and beside it (above, where it is wide) the live memories."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from experiments.moments import Moment, Picture, RecordedEpisode

Box = tuple[int, int, int, int]
Color = tuple[int, int, int]

WIDTH = 1040
MARGIN, TITLE, LEGEND, HEAD = 20, 40, 34, 28
"""Pixels: around everything; height of the title, of the legend, of the line above a layer's memories."""
SQUARE = 380
"""Side of the environment's frame where the memories are beside it."""
WIDE = 2.0
"""A frame this many times as wide as high gets the memories below it instead."""
BORDER, GAP, AGE = 4, 8, 15
"""Pixels: a memory's frame; space between memories; height of the age beneath."""
THUMB_SIZES = (84, 72, 64, 56, 48, 40, 32, 24)
MEMORY_HEIGHT = 440
"""The memories get the largest of the sizes with which they stay below this height."""

BACKGROUND, PANEL, FRAME, TEXT, FAINT = (22, 24, 30), (32, 35, 43), (52, 56, 66), (235, 237, 242), (150, 156, 168)
OUTCOMES: dict[str, Color] = {"success": (88, 214, 141), "failure": (240, 98, 88), "the end": (120, 170, 240)}


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def attention_color(weight: float) -> Color:
    """The colour of a memory's frame: from the panel's grey (0) over orange to bright yellow (1)."""
    # The darkest part of the map can't be told from the background.
    red, green, blue, _ = matplotlib.colormaps["inferno"](0.35 + 0.6 * min(1.0, weight))
    warm = np.array([red, green, blue]) * 255
    share = min(1.0, 5 * weight)
    color = (1 - share) * np.array(FRAME) + share * warm
    return int(color[0]), int(color[1]), int(color[2])


def places(moments: Iterable[Moment]) -> list[list[dict[int, int]]]:
    """Where each live memory is drawn: for each moment and layer, step that made it -> place.

    A memory keeps its place as long as it lives; a new one takes the lowest that is free. So a picture needs as
    many places as memories ever lived at once, not as many as there are slots.
    """
    result: list[list[dict[int, int]]] = []
    held: list[dict[int, int]] = []
    for moment in moments:
        layers = len(moment.masks)
        if moment.step == 1 or not held:
            held = [{} for _ in range(layers)]
        now = []
        for layer in range(layers):
            live = sorted(int(made) for made in moment.made_at[layer][moment.masks[layer] > 0])
            kept = {made: place for made, place in held[layer].items() if made in live}
            free = (place for place in range(len(live)) if place not in kept.values())
            now.append(kept | {made: next(free) for made in live if made not in kept})
        held = now
        result.append(now)
    return result


@dataclass(frozen=True)
class Layout:
    """Where everything lies in the picture; the same for all pictures of a video."""

    size: tuple[int, int]
    frame: Box
    memory: Box
    thumb: int
    columns: int
    rows: int

    @classmethod
    def of(cls, frame_shape: tuple[int, int, int], layers: int, n_places: int) -> "Layout":
        """The layout for a frame of this shape and so many memories a layer, at most."""
        height, width, _ = frame_shape
        top = MARGIN + TITLE
        if width >= WIDE * height:
            frame_width = WIDTH - 2 * MARGIN
            frame_height = round(frame_width * height / width)
            left, memory_top, room = MARGIN, top + frame_height + MARGIN, WIDTH - 2 * MARGIN
        else:
            scale = SQUARE / max(height, width)
            frame_width, frame_height = round(width * scale), round(height * scale)
            left, memory_top = MARGIN + SQUARE + MARGIN, top
            room = WIDTH - left - MARGIN
        thumb, columns, rows = _grid(room, layers, n_places)
        memory_height = layers * _layer_height(thumb, rows)
        bottom = max(top + frame_height, memory_top + memory_height) + MARGIN // 2 + LEGEND
        # H.264 in the browsers' colour format wants even sizes.
        return cls(
            size=(WIDTH, bottom + bottom % 2),
            frame=(MARGIN, top, MARGIN + frame_width, top + frame_height),
            memory=(left, memory_top, left + room, memory_top + memory_height),
            thumb=thumb,
            columns=columns,
            rows=rows,
        )

    def cell(self, layer: int, place: int) -> tuple[int, int]:
        """Upper left corner of the memory at a place, its border included."""
        row, column = divmod(place, self.columns)
        left, top, _, _ = self.memory
        return (
            left + column * (self.thumb + 2 * BORDER + GAP),
            top + layer * _layer_height(self.thumb, self.rows) + HEAD + row * (self.thumb + 2 * BORDER + AGE + GAP),
        )


def _grid(room: int, layers: int, n_places: int) -> tuple[int, int, int]:
    """Size of a memory's picture, columns and rows for `n_places` in each layer."""
    for thumb in THUMB_SIZES:
        columns = (room + GAP) // (thumb + 2 * BORDER + GAP)
        rows = max(1, math.ceil(n_places / columns))
        if layers * _layer_height(thumb, rows) <= MEMORY_HEIGHT:
            break
    return thumb, columns, rows


def _layer_height(thumb: int, rows: int) -> int:
    return HEAD + rows * (thumb + 2 * BORDER + AGE + GAP) + GAP


class Painter:
    """Draws the moments of a recording.

    Args:
        episodes: what was recorded, all episodes: their memories share one layout.
        title: what stands at the upper left.
        slots: of a layer, for the count of live memories.
    """

    def __init__(self, episodes: list[RecordedEpisode], title: str, slots: int) -> None:
        self._title, self._slots = title, slots
        self._places = [places(episode.moments) for episode in episodes]
        self._episodes = episodes
        taken = [max(at.values(), default=-1) + 1 for moments in self._places for now in moments for at in now]
        first = episodes[0].moments[0]
        # A wide grid gives narrower frames where it is short: the layout is that of the widest.
        widest = max((episode.moments[0].frame.shape for episode in episodes), key=lambda shape: shape[1] / shape[0])
        self._n_places = max(taken, default=0)
        self.layout = Layout.of(widest, len(first.masks), self._n_places)

    def paint(self, episode: int, index: int) -> Image.Image:
        """The picture of one moment.

        Args:
            episode: which of the episodes, from 0.
            index: which of its moments, from 0.
        """
        recorded = self._episodes[episode]
        moment = recorded.moments[index]
        image = Image.new("RGB", self.layout.size, BACKGROUND)
        draw = ImageDraw.Draw(image)
        self._draw_title(draw, moment, recorded.note)
        self._draw_frame(image, draw, moment)
        for layer in range(len(moment.masks)):
            self._draw_layer(image, draw, layer, moment, self._places[episode][index][layer], recorded.thumbs)
        if len(moment.masks) > 0:
            self._draw_legend(draw)
        return image

    def _draw_title(self, draw: ImageDraw.ImageDraw, moment: Moment, note: str) -> None:
        y = MARGIN + 8
        draw.text((MARGIN, y), self._title, TEXT, font(18, bold=True), anchor="lm")
        x = MARGIN + draw.textlength(self._title, font(18, bold=True)) + 18
        facts = [note] if note else []
        draw.text(
            (x, y), "   ".join([*facts, f"episode {moment.episode}", f"step {moment.step}"]), FAINT, font(16), "lm"
        )
        word, color = moment.action, TEXT
        if moment.outcome is not None:
            word, color = moment.outcome.upper(), OUTCOMES[moment.outcome]
        draw.text((WIDTH - MARGIN, y), word, color, font(18, bold=True), anchor="rm")

    def _draw_frame(self, image: Image.Image, draw: ImageDraw.ImageDraw, moment: Moment) -> None:
        left, top, right, bottom = self.layout.frame
        draw.rectangle((left, top, right - 1, bottom - 1), PANEL)
        frame = Image.fromarray(moment.frame.pixels())
        scale = min((right - left) / frame.width, (bottom - top) / frame.height)
        frame = frame.resize((round(frame.width * scale), round(frame.height * scale)), Image.Resampling.LANCZOS)
        image.paste(frame, (left + (right - left - frame.width) // 2, top + (bottom - top - frame.height) // 2))
        if moment.outcome is not None:
            draw.rectangle((left - 4, top - 4, right + 3, bottom + 3), outline=OUTCOMES[moment.outcome], width=4)

    def _draw_layer(
        self,
        image: Image.Image,
        draw: ImageDraw.ImageDraw,
        layer: int,
        moment: Moment,
        at: dict[int, int],
        thumbs: dict[int, Picture],
    ) -> None:
        left, top, right, _ = self.layout.memory
        y = top + layer * _layer_height(self.layout.thumb, self.layout.rows) + HEAD // 2 - 4
        name = f"layer {layer + 1}"
        draw.text((left, y), name, TEXT, font(14, bold=True), anchor="lm")
        x = left + draw.textlength(name, font(14, bold=True)) + 12
        count = f"{len(at)} live memories of {self._slots} slots"
        draw.text((x, y), count, FAINT, font(14), anchor="lm")
        own = float(moment.attention[layer][-1])
        text = "attention to now"
        draw.text((right - 24, y), text, FAINT, font(14), anchor="rm")
        draw.rectangle((right - 16, y - 8, right - 1, y + 7), attention_color(own))
        for place in range(self._n_places):
            self._draw_box(draw, self.layout.cell(layer, place), PANEL)
        for slot in np.flatnonzero(moment.masks[layer] > 0):
            made = int(moment.made_at[layer][slot])
            cell = self.layout.cell(layer, at[made])
            self._draw_box(draw, cell, attention_color(float(moment.attention[layer][slot])))
            self._draw_memory(image, draw, cell, thumbs[made], float(moment.masks[layer][slot]), moment.step - made)

    def _draw_box(self, draw: ImageDraw.ImageDraw, cell: tuple[int, int], color: Color) -> None:
        x, y = cell
        side = self.layout.thumb + 2 * BORDER
        draw.rounded_rectangle((x, y, x + side - 1, y + side - 1), radius=BORDER, fill=color)

    def _draw_memory(
        self,
        image: Image.Image,
        draw: ImageDraw.ImageDraw,
        cell: tuple[int, int],
        thumb: Picture,
        mask: float,
        age: int,
    ) -> None:
        x, y = cell
        image.paste(faded(thumb, self.layout.thumb, mask), (x + BORDER, y + BORDER))
        middle = x + BORDER + self.layout.thumb // 2
        bottom = y + self.layout.thumb + 2 * BORDER + 1
        draw.text((middle, bottom), str(age), FAINT, font(12 if self.layout.thumb > 32 else 10), anchor="ma")

    def _draw_legend(self, draw: ImageDraw.ImageDraw) -> None:
        x, y = MARGIN, self.layout.size[1] - LEGEND // 2
        small = font(12)

        def write(text: str, gap: int = 8) -> None:
            nonlocal x
            draw.text((x, y), text, FAINT, small, anchor="lm")
            x += round(draw.textlength(text, small)) + gap

        write(
            "A memory is shown by what was seen when it was made, as bright as its expire mask; below it its age.", 18
        )
        write("Frame: attention now, strongest head  0")
        for i in range(90):
            draw.line((x + i, y - 5, x + i, y + 5), attention_color(i / 89))
        x += 98
        write("1")


def faded(thumb: Picture, size: int, mask: float) -> Image.Image:
    """A square small picture, of full strength with a mask of 1 and gone into the background with one of 0."""
    picture = Image.fromarray(thumb.pixels())
    scale = size / max(picture.size)
    fitted = picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.LANCZOS
    )
    square = Image.new("RGB", (size, size), BACKGROUND)
    square.paste(fitted, ((size - fitted.width) // 2, (size - fitted.height) // 2))
    return Image.blend(Image.new("RGB", (size, size), BACKGROUND), square, mask)
