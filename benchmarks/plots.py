"""Plots of results as SVG, drawn by hand: bars with their spread, and lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from math import ceil, floor, log10
from pathlib import Path
from statistics import median

from benchmarks.report import Column, Lines, Result

_WIDTH, _LEFT, _RIGHT, _TOP, _FOOT = 800, 330, 90, 40, 50
_BAR, _HIGH = 26, 300
_COLORS = ("#3060a0", "#c05020", "#308050", "#8040a0", "#806020", "#404040")


def write_plots(folder: Path, results: Sequence[Result]) -> list[Path]:
    """Write bars of the first column of every result, and its lines; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for result in results:
        drawn = {result.scenario: bars(result, result.columns[0])}
        for number, lines in enumerate(result.lines, 1):
            drawn[f"{result.scenario}-{number}"] = line_plot(lines)
        for name, text in drawn.items():
            written.append(folder / f"{name}.svg")
            written[-1].write_text(text, encoding="utf-8")
    return written


def bars(result: Result, column: Column) -> str:
    """Draw the medians of a column, one bar per case, and [least-most] as a thin line on each."""
    values = {
        case: known
        for case, samples in result.samples.items()
        if (known := [v for s in samples if (v := s.get(column.key)) is not None])
    }
    top = _round_up(max((max(known) for known in values.values()), default=1.0))
    span = _WIDTH - _LEFT - _RIGHT

    def at(value: float) -> float:
        return _LEFT + span * value / top

    parts = [_text(_WIDTH / 2, 24, f"{result.scenario}: {column.heading}", size=16)]
    for row, (case, known) in enumerate(values.items()):
        y = _TOP + row * _BAR
        middle = median(known)
        parts += [
            _text(_LEFT - 8, y + 16, case, anchor="end"),
            _bar(_LEFT, y + 4, at(middle) - _LEFT),
            _line(at(min(known)), y + 12, at(max(known)), y + 12, "#000"),
            _text(at(max(known)) + 6, y + 16, f"{middle:,.{column.digits}f}", anchor="start"),
        ]
    return _svg(_TOP + len(values) * _BAR + 10, parts)


def line_plot(lines: Lines) -> str:
    """Draw every series as a line over common axes that begin at 0."""
    points = [point for series in lines.points.values() for point in series]
    right = _round_up(max((x for x, _ in points), default=1.0))
    top = _round_up(max((y for _, y in points), default=1.0))
    left, bottom, width = 80, _TOP + _HIGH, _WIDTH - 80 - 30

    def x_at(value: float) -> float:
        return left + width * value / right

    def y_at(value: float) -> float:
        return bottom - _HIGH * value / top

    parts = [_text(_WIDTH / 2, 24, lines.title, size=16)]
    parts += _axes((right, top), x_at, y_at)
    parts += [_text(_WIDTH / 2, bottom + 36, lines.x), _text(left, _TOP - 6, lines.y)]
    for number, (name, series) in enumerate(lines.points.items()):
        color = _COLORS[number % len(_COLORS)]
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in series)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2" />')
        parts.append(_text(left, bottom + 56 + 18 * number, name, anchor="start", color=color))
    return _svg(bottom + _FOOT + 18 * (len(lines.points) + 1), parts)


def _axes(
    ends: tuple[float, float], x_at: Callable[[float], float], y_at: Callable[[float], float]
) -> Iterator[str]:
    right, top = ends
    for part in range(5):
        x, y = right * part / 4, top * part / 4
        yield _line(x_at(0), y_at(y), x_at(right), y_at(y), "#ccc")
        yield _text(x_at(0) - 8, y_at(y) + 4, f"{y:,g}", anchor="end")
        yield _text(x_at(x), y_at(0) + 18, f"{x:,g}")


def _round_up(value: float) -> float:
    """Return the next number of two digits that is easy to read on an axis."""
    if value <= 0:
        return 1.0
    unit = 10 ** (floor(log10(value)) - 1)
    return float(ceil(value / unit / 4) * 4 * unit)


def _line(x: float, y: float, to_x: float, to_y: float, color: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{color}" />'


def _bar(x: float, y: float, width: float) -> str:
    size = f'width="{width:.1f}" height="16"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{_COLORS[0]}" />'


def _text(
    x: float, y: float, text: str, *, anchor: str = "middle", size: int = 12, color: str = "#000"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{color}">{escape(text)}</text>'
    )


def _svg(height: float, parts: Sequence[str]) -> str:
    size = f'width="{_WIDTH}" height="{height:.0f}" viewBox="0 0 {_WIDTH} {height:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">',
            '<rect width="100%" height="100%" fill="#fff" />',
            *parts,
            "</svg>\n",
        ]
    )
