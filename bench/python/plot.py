"""Time per token against batch and context, as SVG. Both axes logarithmic."""

import math

WIDTH, HEIGHT, LEFT, BOTTOM = 420, 280, 60, 40


def panel(origin, title, label, points):
    xs, ys = [math.log2(x) for x, _ in points], [math.log10(1e3 * y) for _, y in points]
    low, high = math.floor(min(ys) * 2) / 2, math.ceil(max(ys) * 2) / 2
    high = max(high, low + 0.5)
    first, last = min(xs), max(max(xs), min(xs) + 1)

    def place(x, y):
        return (origin + LEFT + (x - first) / (last - first) * (WIDTH - LEFT - 20), 30 + (high - y) / (high - low) * (HEIGHT - 30 - BOTTOM))
    out = [f'<text x="{origin + LEFT}" y="18" font-weight="bold">{title}</text>']
    step = low
    while step <= high + 1e-9:
        y = place(first, step)[1]
        out.append(f'<line x1="{origin + LEFT}" x2="{origin + WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                   f'<text x="{origin + LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10 ** step:.3g}</text>')
        step += 0.5
    for (value, _), x in zip(points, xs):
        out.append(f'<text x="{place(x, low)[0]:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value}</text>')
    out.append(f'<text x="{origin + WIDTH / 2}" y="{HEIGHT - 4}" text-anchor="middle">{label}</text>')
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in zip(xs, ys)))
    out.append(f'<polyline points="{line}" fill="none" stroke="#1565c0" stroke-width="2"/>')
    out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#1565c0"/>' for x, y in (place(*point) for point in zip(xs, ys))]
    return "\n".join(out)


def svg(scale):
    batch = [(entry["batch"], entry["median_s"] / entry["batch"]) for entry in scale["batch"]]
    context = [(entry["context"], entry["median_s"]) for entry in scale["context"]]
    panels = [panel(0, "ms per token", "rows decoded together", batch), panel(WIDTH, "ms for one more token", "positions held", context)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="11">\n'
            '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(panels) + "\n</svg>\n")
