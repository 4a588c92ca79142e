# chart.py -- recall against queries per second as an SVG, without libraries.
#
# write(path, title, curves): curves is a list of (name, [(recall, qps)]); the
# best points of each are joined: those that no other beats in both.
# Queries per second are on a logarithmic axis.
import math

WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 760, 460, 70, 190, 40, 50
COLOURS = ("#c0392b", "#e67e22", "#2c3e50", "#2980b9", "#27ae60", "#8e44ad",
           "#7f8c8d", "#16a085")


def best(points):
    """The points that none beats in both, by recall."""
    out = []
    for recall, qps in sorted(points, reverse=True):
        if not out or qps > out[-1][1]:
            out.append((recall, qps))
    return out[::-1]


def text(x, y, s, anchor="middle", size=12, more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
            f'font-size="{size}" {more}>{s}</text>')


def line(x0, y0, x1, y1, colour="#dddddd"):
    return (f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" '
            f'stroke="{colour}"/>')


def write(path, title, curves, least=0.8):
    curves = [(n, [p for p in best(c) if p[0] >= least]) for n, c in curves]
    curves = [(n, c) for n, c in curves if c]
    every = [q for _, c in curves for _, q in c]
    low = math.floor(math.log10(min(every)) * 2) / 2
    high = math.ceil(math.log10(max(every)) * 2) / 2
    wide, tall = WIDE - LEFT - RIGHT, HIGH - TOP - BOTTOM

    def x(recall):
        return LEFT + (recall - least) / (1 - least) * wide

    def y(qps):
        return TOP + (high - math.log10(qps)) / (high - low) * tall

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDE}" '
           f'height="{HIGH}" font-family="sans-serif" fill="#333333">',
           f'<rect width="{WIDE}" height="{HIGH}" fill="#ffffff"/>',
           text(LEFT + wide / 2, 22, title, size=14)]
    for i in range(0, 5):
        r = least + (1 - least) * i / 4
        out += [line(x(r), TOP, x(r), TOP + tall),
                text(x(r), TOP + tall + 18, f"{r:.2f}")]
    for e in range(math.floor(low), math.ceil(high) + 1):
        for m in (1, 2, 5):
            q = m * 10.0 ** e
            if low <= math.log10(q) <= high:
                out += [line(LEFT, y(q), LEFT + wide, y(q)),
                        text(LEFT - 8, y(q) + 4, f"{q:,.0f}", "end")]
    out += [text(LEFT + wide / 2, HIGH - 12, "recall of 10 neighbours"),
            text(18, TOP + tall / 2, "queries per second", more='transform='
                 f'"rotate(-90 18 {TOP + tall / 2:.0f})"')]
    for i, (name, points) in enumerate(curves):
        colour = COLOURS[i % len(COLOURS)]
        path_ = " ".join(f"{x(r):.1f},{y(q):.1f}" for r, q in points)
        out.append(f'<polyline points="{path_}" fill="none" '
                   f'stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x(r):.1f}" cy="{y(q):.1f}" r="3" '
                f'fill="{colour}"/>' for r, q in points]
        out += [line(WIDE - RIGHT + 20, TOP + 20 * i, WIDE - RIGHT + 44,
                     TOP + 20 * i, colour),
                text(WIDE - RIGHT + 50, TOP + 4 + 20 * i, name, "start")]
    with open(path, "w") as f:
        f.write("\n".join(out) + "\n</svg>\n")
