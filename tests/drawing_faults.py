"""What may be wrong with a drawing, found in its geometry and by comparing it with the ledger."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

from compiler.drawing.scene import Area, Scene
from compiler.passes.count import macs, trainable
from compiler.passes.trace import Ledger

SVG = "{http://www.w3.org/2000/svg}"


def geometric_faults(scene: Scene) -> list[str]:
    """Texts that meet each other, boxes, bars or arrows, and what leaves the drawing."""
    texts = [(text.text, text.area) for text in scene.all_texts]
    boxes = [(box.name, box.whole) for box in scene.boxes]
    bars = [(bar.title, bar.area) for bar in scene.bars]
    lines = [(arrow, area) for arrow in scene.arrows for area in _segments(arrow.points)]
    found = [
        f"{name!r} leaves the drawing"
        for name, area in [*texts, *boxes, *bars, *((a.style, area) for a, area in lines)]
        if not scene.area.holds(area)
    ]
    pairs = [
        *itertools.combinations(texts, 2),
        *itertools.combinations(boxes, 2),
        *itertools.product(texts, [*boxes, *bars]),
        *itertools.product(texts, [(arrow.style, area) for arrow, area in lines]),
    ]
    found += [f"{a!r} meets {b!r}" for (a, first), (b, second) in pairs if first.meets(second)]
    for arrow, area in lines:
        for name, box in boxes:
            touched = any(_touches(box, point) for point in (arrow.points[0], arrow.points[-1]))
            if area.meets(box) and not touched:
                found.append(f"{arrow.title or arrow.style!r} runs through {name!r}")
    return found


def _segments(points):
    """The parts of a line, each as a thin rectangle."""
    for (a, b), (c, d) in itertools.pairwise(points):
        yield Area(min(a, c), min(b, d) - 0.5, abs(a - c), abs(b - d) + 1)


def _touches(box: Area, point) -> bool:
    x, y = point
    return box.x - 1 <= x <= box.right + 1 and box.y - 1 <= y <= box.bottom + 1


def differences(svg: str, ledger: Ledger) -> list[str]:
    """Where the drawing of a network says something else than its ledger."""
    root = ElementTree.fromstring(svg)
    groups = [g for g in root.iter(f"{SVG}g") if g.get("data-path")]
    found = []
    owners: dict[str, list] = {row.path: [] for row in ledger.rows}
    for group in groups:
        for path in group.get("data-path").split():
            rows = [p for p in owners if p == path or p.startswith(f"{path}.")]
            found += [] if rows else [f"no row is {path}"]
            for row in rows:
                owners[row].append(group)
    found += [f"{len(own)} boxes stand for {path}" for path, own in owners.items() if len(own) != 1]
    rows = {row.path: row for row in ledger.rows}
    last = {id(own[-1]): rows[path] for path, own in owners.items() if own}
    steps = {step.name: step.output for step in ledger.encoder}
    for group in groups:
        kind, name = group.get("class").split()[1], group.get("data-name")
        if not group.get("class").startswith("box"):
            continue
        shape = (int(group.get("data-channels")), *_sizes(group))
        if kind != "encoder" and id(group) not in last:
            found.append(f"{name} stands for nothing of its own")
            continue
        wanted = steps[name] if kind == "encoder" else last[id(group)].output
        if kind != "gate" and shape != wanted:
            found.append(f"{name} is {shape}, and {wanted} in the ledger")
        own = [rows[path] for path, groups in owners.items() if groups == [group]]
        for count, what in ((trainable(own), "parameters"), (macs(own), "MACs")):
            title = group.find(f"{SVG}title").text
            if f", {count:,} {what}" not in title if count else what in title:
                found.append(f"{name} has {count:,} {what}: {title}")
        texts = [text.text for text in group.iter(f"{SVG}text")]
        if not any(text.split(" ")[0] == f"{shape[0]:,}" for text in texts):
            found.append(f"{name} does not say its {shape[0]} channels: {texts}")
        written = "×".join(f"{size:,}" for size in shape[1:])
        if written and not any(written in (text.text or "") for text in root.iter(f"{SVG}text")):
            found.append(f"{written} of {name} is not written")
    return found


def _sizes(group) -> tuple[int, ...]:
    return tuple(map(int, filter(None, group.get("data-size").split("x"))))
