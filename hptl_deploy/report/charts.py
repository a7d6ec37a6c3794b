"""Small charts as inline SVG: no script, no font, sharp in print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from hptl_deploy.report.words import plain

if TYPE_CHECKING:
    from hptl_deploy.phases import Colour

WIDTH, HEIGHT = 340, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 12, 10, 36
"""Margins in the same units: room for the scale left and below."""
_BASE = HEIGHT - _BOTTOM

_SVG = Markup(
    '<svg class="chart" viewBox="0 0 {w} {h}" role="img"><title>{title}</title>{body}</svg>'
)
_LINE = Markup('<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')
_TEXT = Markup('<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>')
_RECT = Markup(
    '<rect x="{x:.2f}" y="{y:.2f}" width="{w:.2f}" height="{h:.2f}" fill="{fill}" class="{kind}"/>'
)
_DOT = Markup('<circle cx="{x:.2f}" cy="{y:.2f}" r="4" fill="{fill}" class="bar"/>')


@dataclass(frozen=True)
class Axis:
    """A linear scale from `low` to `high` over the pixels `start` to `end` of the drawing."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where `value` lies."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """Round numbers within the scale, `most` or fewer."""
        step = round_step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [step * index for index in range(first, last + 1)]


@dataclass(frozen=True)
class Logarithmic(Axis):
    """A logarithmic scale; `low` is above 0."""

    def place(self, value: float) -> float:
        """Where `value` lies."""
        across = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + across * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """1, 2 and 5 times powers of ten within the scale; powers alone where that are too many."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for leads in ((1, 2, 5), (1,)):
            found = [lead * 10.0**decade for decade in decades for lead in leads]
            within = [one for one in found if self.low * 0.999 <= one <= self.high * 1.001]
            if len(within) <= most:
                break
        return within


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20 ... times a power of ten that is at least `least` > 0."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * lead for lead in (1, 2, 5, 10) if power * lead >= least * (1 - 1e-9))


def bins(values: Sequence[float], most: int = 14) -> tuple[list[float], list[int]]:
    """Round edges over `values` (one or more) and how many lie in each bin: [low, high).

    The last bin holds its upper edge, too. At most `most` + 1 bins.
    """
    low, high = min(values), max(values)
    step = round_step(((high - low) or abs(high) or 1.0) / most)
    first = math.floor(low / step + 1e-9)
    count = max(1, math.ceil(high / step - 1e-9) - first)
    edges = [step * (first + index) for index in range(count + 1)]
    counts = [0] * count
    for value in values:
        counts[min(count - 1, max(0, math.floor(value / step - first + 1e-9)))] += 1
    return edges, counts


def bars(
    edges: Sequence[float], heights: Sequence[float], colour: Colour, x: str, y: str, title: str
) -> Markup:
    """A histogram: `heights` [n] over the bins between `edges` [n + 1], which ascend."""
    across = Axis(edges[0], edges[-1], _LEFT, WIDTH - _RIGHT)
    up = Axis(0, max([*heights, 0]) or 1, _BASE, _TOP)
    body = _upward(up, y)
    for left, right, height in zip(edges, edges[1:], heights, strict=False):
        top = up.place(height)
        start, end = across.place(left), across.place(right)
        body += _RECT.format(
            x=start + 0.5, y=top, w=max(0.5, end - start - 1), h=_BASE - top,
            fill=css(colour), kind="bar",
        )  # fmt: skip
    return _drawn(title, body + _along(across, x))


@dataclass(frozen=True)
class Share:
    """A class of sizes: its limits, which are above 0, and its shares, 0 to 1."""

    lower: float
    upper: float
    by_number: float
    by_area: float


def shares(classes: Sequence[Share], colour: Colour, x: str, title: str) -> Markup:
    """Shares over sizes on a logarithmic scale: bars by number, a line in steps by area.

    `classes` follow each other without gaps.
    """
    edges = [classes[0].lower, *(one.upper for one in classes)]
    across = Logarithmic(edges[0], edges[-1], _LEFT, WIDTH - _RIGHT)
    up = Axis(0, 100 * max(max(one.by_number, one.by_area) for one in classes), _BASE, _TOP)
    body, steps = _upward(up, "%"), [f"M{across.place(edges[0]):.1f} {_BASE}"]
    for one in classes:
        start, end = across.place(one.lower), across.place(one.upper)
        top = up.place(100 * one.by_number)
        body += _RECT.format(
            x=start + 0.5, y=top, w=end - start - 1, h=_BASE - top, fill=css(colour), kind="bar"
        )
        steps.append(f"V{up.place(100 * one.by_area):.1f}H{end:.1f}")
    body += Markup('<path d="{}" class="steps"/>').format("".join([*steps, f"V{_BASE}"]))
    return _drawn(title, body + _along(across, x))


def dots(
    values: Sequence[float],
    colour: Colour,
    x: str,
    title: str,
    mean: float,
    half: float,
) -> Markup:
    """One dot per value over a scale; `mean` as a line, `mean` +- `half` as a band behind it."""
    low, high = min(*values, mean - half), max(*values, mean + half)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    across = Axis(low - margin, high + margin, _LEFT, WIDTH - _RIGHT)
    left, place, right = map(across.place, (mean - half, mean, mean + half))
    body = _RECT.format(x=left, y=_TOP, w=right - left, h=_BASE - _TOP, fill="#dfe6ee", kind="band")
    body += _LINE.format(x1=place, y1=_TOP, x2=place, y2=_BASE, kind="mean")
    rows = min(5, len(values))
    for index, value in enumerate(values):  # one below the other, so that equal ones are seen
        y = _BASE - 12 - (index % rows) * (_BASE - _TOP - 24) / max(1, rows - 1)
        body += _DOT.format(x=across.place(value), y=y, fill=css(colour))
    return _drawn(title, body + _along(across, x))


def css(colour: Colour) -> str:
    """A colour as CSS and SVG take it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def swatch(colour: str) -> Markup:
    """A small square of a CSS colour, beside a name."""
    return Markup('<span class="swatch" style="background:{}"></span>').format(colour)


def _upward(axis: Axis, label: str) -> Markup:
    body = Markup()
    for tick in axis.ticks(3):
        y = axis.place(tick)
        body += _LINE.format(x1=_LEFT, y1=y, x2=WIDTH - _RIGHT, y2=y, kind="grid")
        body += _TEXT.format(x=_LEFT - 4, y=y + 4, anchor="end", text=plain(round(tick, 12)))
    middle = (_TOP + _BASE) / 2
    turned = Markup('<text transform="translate(9 {y:.0f}) rotate(-90)" text-anchor="middle">')
    return body + turned.format(y=middle) + Markup("{}</text>").format(label)


def _along(axis: Axis, label: str) -> Markup:
    body = _LINE.format(x1=axis.start, y1=_BASE, x2=axis.end, y2=_BASE, kind="axis")
    for tick in axis.ticks(6):
        x = axis.place(tick)
        body += _LINE.format(x1=x, y1=_BASE, x2=x, y2=_BASE + 4, kind="axis")
        body += _TEXT.format(x=x, y=_BASE + 15, anchor="middle", text=plain(round(tick, 12)))
    middle = (axis.start + axis.end) / 2
    return body + _TEXT.format(x=middle, y=HEIGHT - 5, anchor="middle", text=label)


def _drawn(title: str, body: Markup) -> Markup:
    return _SVG.format(w=WIDTH, h=HEIGHT, title=title, body=body)
