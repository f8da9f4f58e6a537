"""The loss curve as a picture."""

import math


def draw(curve, path, title, unit="bits per character"):
    """The loss curve as SVG: training and held-out bits over steps."""
    w, h, left, top, right, bottom = 640, 360, 56, 36, 16, 44
    lows = [min(r[1], r[2]) for r in curve]
    lo, hi = math.floor(min(lows) * 10) / 10, math.ceil(max(max(r[1], r[2]) for r in curve) * 10) / 10
    hi = min(hi, lo + 2.0)
    last = curve[-1][0]
    x = lambda s: left + (w - left - right) * s / last
    y = lambda v: top + (h - top - bottom) * (hi - min(v, hi)) / (hi - lo)
    line = lambda i: " ".join(f"{x(r[0]):.1f},{y(r[i]):.1f}" for r in curve)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" font-family="sans-serif" font-size="12">',
             f'<rect width="{w}" height="{h}" fill="#fff"/><text x="{left}" y="22" font-size="14">{title}</text>']
    ticks = max(2, round((hi - lo) / 0.2))
    for i in range(ticks + 1):
        v = lo + (hi - lo) * i / ticks
        parts.append(f'<path d="M{left} {y(v):.1f}H{w - right}" stroke="#ddd"/><text x="{left - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.2f}</text>')
    for i in range(6):
        s = last * i / 5
        parts.append(f'<text x="{x(s):.1f}" y="{h - bottom + 18}" text-anchor="middle">{s:,.0f}</text>')
    parts.append(f'<text x="{(left + w - right) / 2}" y="{h - 8}" text-anchor="middle">steps</text>')
    for i, (name, color) in enumerate((("training", "#888"), ("held out", "#c33"))):
        parts.append(f'<polyline points="{line(i + 1)}" fill="none" stroke="{color}" stroke-width="1.5"/>'
                     f'<text x="{w - right - 6}" y="{top + 16 + 16 * i}" text-anchor="end" fill="{color}">{name}, {unit}</text>')
    path.write_text("\n".join(parts) + "\n</svg>\n")
