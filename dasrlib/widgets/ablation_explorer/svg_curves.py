"""Curves over σ as SVG: written in a millisecond, where a matplotlib figure takes a tenth of a
second, and in the colours of the page's own theme."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from dasrlib.systems import short
from dasrlib.widgets.ablation_explorer.first_frame import Style

WIDTH, HEIGHT = 370, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 362, 26, 228  # the axes' box, in the picture's own units
UNSEEN = "#E69F00"  # a veil of it, over white and over black alike

Points = Sequence[tuple[float, float]]

# Each marker around (0, 0).
_SHAPES = {
    "o": '<circle r="3.6"/>',
    "s": '<rect x="-3.3" y="-3.3" width="6.6" height="6.6"/>',
    "^": '<path d="M0-4.2 4 3H-4Z"/>',
    "v": '<path d="M0 4.2 4-3H-4Z"/>',
    "D": '<path d="M0-4.4 4.4 0 0 4.4-4.4 0Z"/>',
    "x": '<path d="M-3.4-3.4 3.4 3.4M3.4-3.4-3.4 3.4" stroke-width="1.8"/>',
}


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers in [low, high], at most so many, a step of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _text(x: float, y: float, words: str, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {extra}>{html.escape(words)}</text>'


def _curve(places: Points, look: Style) -> str:
    """One method's line and markers, at places in the picture."""
    colour = look.colour or "currentColor"
    dashes = " ".join(f"{d:g}" for d in look.dashes)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    marks = "".join(
        f'<g transform="translate({x:.1f} {y:.1f})">{_SHAPES[look.marker]}</g>' for x, y in places
    )
    return (
        f'<g fill="{colour}" stroke="{colour}"><polyline points="{line}" fill="none" '
        f'stroke-width="1.8" stroke-dasharray="{dashes}"/><g stroke-width="0">{marks}</g></g>'
    )


def curves_svg(
    heading: str,
    curves: Mapping[str, Points],
    looks: Mapping[str, Style],
    sigma: float,
    trained: float,
    high: float,
    alt: str,
) -> str:
    """PSNR over σ of several methods, a line at the current σ, and the unseen part marked (§4.2).

    curves: by method, (σ, dB) in the order of σ; what is not finite is left out. trained: the
    widest kernel of the training; high: where the axis ends, HR pixels. alt: what it shows, in
    words.
    """
    drawn = {m: [p for p in points if math.isfinite(p[1])] for m, points in curves.items()}
    values = [value for points in drawn.values() for _, value in points] or [0.0, 1.0]
    room = max(0.06 * (max(values) - min(values)), 0.02)
    low, top = min(values) - room, max(values) + room

    def x(width: float) -> float:
        return LEFT + (RIGHT - LEFT) * width / high

    def y(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - low) / (top - low)

    axes = []
    for level in ticks(low, top):
        axes.append(f'<path d="M{LEFT} {y(level):.1f}H{RIGHT}" opacity=".18"/>')
        axes.append(_text(LEFT - 5, y(level) + 4, f"{level:g}", 'text-anchor="end" stroke="none"'))
    for width in range(int(high) + 1):
        axes.append(_text(x(width), BOTTOM + 15, f"{width}", 'text-anchor="middle" stroke="none"'))
    veil = ""
    if trained < high:
        veil = (
            f'<rect x="{x(trained):.1f}" y="{TOP}" width="{RIGHT - x(trained):.1f}" '
            f'height="{BOTTOM - TOP}" fill="{UNSEEN}" opacity=".2"/>'
            + _text(x(trained) + 3, TOP + 12, "never seen", 'font-size="10"')
            + _text(x(trained) + 3, TOP + 24, "in training", 'font-size="10"')
        )
    lines = "".join(
        _curve([(x(w), y(v)) for w, v in points], looks[m]) for m, points in drawn.items()
    )
    return (
        f'<svg role="img" aria-label="{html.escape(alt, quote=True)}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" style="flex:1 1 300px;max-width:460px;margin:4px" '
        'fill="currentColor" font-size="11.5" font-family="sans-serif">'
        + _text(LEFT, 15, heading, 'font-weight="600"')
        + veil
        + f'<g stroke="currentColor">{"".join(axes)}'
        + f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none"/></g>'
        + lines
        + f'<path class="now" d="M{x(sigma):.1f} {TOP}V{BOTTOM}" stroke="currentColor" '
        'stroke-width="1.5"/>'
        + _text(LEFT, BOTTOM + 33, "kernel width σ, HR pixels; upwards PSNR-Y, dB")
        + "</svg>"
    )


def key_html(looks: Mapping[str, Style], values: Mapping[str, str], heading: str) -> str:
    """Which line is which method, and a number for each, as a table."""
    rows = "".join(
        f'<tr><td><svg width="44" height="14" viewBox="0 0 44 14" fill="currentColor" aria-hidden='
        f'"true">{_curve([(5, 7), (22, 7), (39, 7)], look)}</svg></td>'
        f'<td style="padding:0 10px 0 6px">{html.escape(short(method))}</td>'
        f'<td style="text-align:right;white-space:nowrap">{html.escape(values[method])}</td></tr>'
        for method, look in looks.items()
    )
    return (
        '<table style="margin:4px;font-size:13px;line-height:1.5"><caption style="text-align:left;'
        f'font-weight:600">{html.escape(heading)}</caption>{rows}</table>'
    )
