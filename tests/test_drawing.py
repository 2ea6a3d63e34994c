"""Drawings: their geometry, what they say of the ledger, their SVG, and the command `draw`."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

import compiler
from compiler.catalog import ENCODERS
from compiler.commands.cli import main
from compiler.drawing.gallery import gallery, small_scene, thumbnail
from compiler.drawing.picture import picture, scene, scene_of_networks
from compiler.drawing.scene import Scene, Text
from compiler.drawing.signed import is_drawing
from compiler.drawing.svg import svg_of
from compiler.drawing.theme import THEMES
from compiler.ir import Conv, Each
from compiler.parsing import parse
from compiler.passes.specialize import specialize
from compiler.passes.trace import trace
from compiler.passes.validate import resolve
from compiler.segmentors import SEGMENTORS

from .drawing_faults import SVG, differences, geometric_faults
from .sampling import ANYWHERE, by_kind

ROOT = Path(__file__).parents[1]
ORACLE = ROOT / "tests/oracle/nnunet"
HEADS = (
    {},
    {"features_only": True},
    {"features_only": True, "pooling": "avg"},
    *({"segmentor": name} for name in SEGMENTORS),
)
OPTIONS = (
    {"segmentor": "unet", "deep_supervision": True, "encoder_depth": 3},
    {"segmentor": "unet", "decoder_block": "transpose"},
    {"segmentor": "unet", "deploy": True},
    {"segmentor": "unet_plus_plus", "decoder_block": "transpose", "deep_supervision": True},
    {"segmentor": "unet_plus_plus", "deploy": True},
    {"segmentor": "attention_unet", "input_shape": (97, 65, 75, 2), "dims": 3},
    {"segmentor": "linknet", "input_shape": (97, 101, 3)},
    {"segmentor": "fpn", "dims": 3, "strides": "1,2,2/1,2,2/2/2/2"},
    {"segmentor": "unet", "strides": "1/1/2/2/2"},
    {"segmentor": "trans_unet", "compat": "medicai", "input_shape": (1024, 512, 3)},
    {"segmentor": "trans_unet", "input_shape": (1024, 1024, 3), "num_classes": 1},
)


def _faults(encoder, options) -> list[str]:
    model = resolve(encoder, options)
    return [*geometric_faults(scene([model])), *differences(picture([model]), _ledger(model))]


def _ledger(model):
    return trace(specialize(model))


def _cases():
    for name in ENCODERS:
        for dims in (2, 3):
            for head in HEADS:
                own = head.get("segmentor", "unet") not in ANYWHERE
                if not own or ENCODERS[name].units:
                    yield name, {"dims": dims, **head}


def _kind(name, options):
    """Each encoder with one head, and each head in 2D and in 3D with one encoder of its kind."""
    own = ENCODERS[name].units is not None
    head = tuple(value for key, value in options.items() if key != "dims")
    return (name,) if head == () and not own else (own, options["dims"], *head)


@pytest.mark.parametrize(("name", "options"), by_kind(_cases(), _kind))
def test_the_catalog(name, options):
    assert not _faults(name, options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options):
    assert not _faults("seresnet50", options)


@pytest.mark.parametrize(
    ("block", "stages", "options"),
    [
        ("plain", 32, {"segmentor": "nnunet", "deep_supervision": True}),
        ("bottleneck_d", 7, {"segmentor": "nnunet", "lower_heads": True, "dims": 3}),
        ("basic", 12, {"features_only": True}),
    ],
)
def test_encoders_of_ones_own(block, stages, options):
    """Many stages, and some that share a size with the one before it."""
    filters, strides = (8,) * (stages - 1) + (4096,), (1, 2, 2, 2, 2, *(1,) * (stages - 5))
    encoder = compiler.custom_encoder(
        "n" * 60,
        blocks=(1, 40, *(1,) * (stages - 2)),
        block=block,
        filters=filters,
        strides=strides,
    )
    assert not _faults(encoder, options)


def test_plans_and_checkpoints_of_nnunet():
    plans = ORACLE / "plans_examples/thick_slices_resenc_m.plans.json"
    dataset = plans.with_name("thick_slices_resenc_m.dataset.json")
    assert not _faults(plans, {"configuration": "3d_fullres", "dataset": dataset})
    assert not _faults(ORACLE / "tiny_checkpoint/checkpoint_final.pth", {})


def test_a_spec(tmp_path):
    (tmp_path / "net.toml").write_text(
        'extends = "resnet18"\ndims = 3\n[segmentor]\nname = "fpn"\n'
    )
    assert not _faults(tmp_path / "net.toml", {})
    drawn = compiler.draw(tmp_path / "net.toml")
    assert drawn == compiler.draw("resnet18", segmentor="fpn", dims=3)


def test_a_decoder_that_nobody_has_drawn_before():
    """A program with products, side branches and a sum of many maps."""
    network = specialize(resolve("seresnet18", {"segmentor": "unet"}))
    (decoder,) = network.modules
    body = parse(
        """
        x = deepest(pyramid)
        skips = skips(pyramid)
        others = []
        for skip, filters in zip(skips, DECODER_FILTERS):
            gate = sigmoid(gates(skip, filters))
            others.append(corner_stretch(sides(x, DECODER_FILTERS[-1]), image))
            x = blocks(concat(upsample(x, skip), skip), filters) * gate
        return total(blocks(upsample(x, image), DECODER_FILTERS[-1]), *others)
        """,
        "a decoder of no paper",
    )
    own = (
        Each("gates", Conv("", "", "", 1), one="gate"),
        Each("sides", Conv("", "", "", 3), one="side"),
    )
    changed = replace(
        network, modules=(replace(decoder, body=body, layers=(*decoder.layers, *own)),)
    )
    ledger = trace(changed)
    drawn = scene_of_networks([changed])
    assert not geometric_faults(drawn)
    assert not differences(svg_of(drawn, "auto"), ledger)
    signs = [box.sign for box in drawn.boxes if box.sign]
    assert signs.count("×") == 4 and signs.count("+") == 1


@pytest.mark.parametrize("dims", [2, 3])
def test_thumbnails_of_the_gallery(dims):
    """One size for all; every encoder and segmentor has one."""
    models = gallery(dims)
    names = {model.name for model in models}
    assert {*ENCODERS} < names and {f"seresnext50_{name}" for name in ANYWHERE} < names
    sizes = set()
    for model in [models[0], *models[-len(ANYWHERE) :]]:
        small = small_scene(model)
        assert not geometric_faults(small)
        sizes.add((round(small.width * small.zoom, 3), round(small.height * small.zoom, 3)))
    assert len(sizes) == 1
    assert compiler.draw(models[0].name, thumbnail=True, dims=dims) == thumbnail(models[0])
    with pytest.raises(compiler.CompileError, match="a thumbnail shows one model"):
        compiler.draw("resnet18", compare="resnet34", thumbnail=True)


WIRING = {  # of three levels: stem, stage 0 and stage 1
    "unet": {
        "block 0": "the concatenation of stage 1 and stage 0",
        "block 1": "the concatenation of block 0 and stem",
        "block 2": "block 1",
        "head": "block 2",
    },
    "attention_unet": {
        "gate 0": "stage 0 and stage 1",
        "block 0": "the concatenation of stage 1 and gate 0",
        "gate 1": "stem and block 0",
        "block 1": "the concatenation of block 0 and gate 1",
        "block 2": "block 1",
        "head": "block 2",
    },
    "unet_plus_plus": {
        "block 0.0": "the concatenation of stage 1 and stage 0",
        "block 1.0": "the concatenation of stage 0 and stem",
        "block 1.1": "the concatenation of block 0.0, stem and block 1.0",
        "head": "block 1.1",
        "logits": "head",
    },
    "linknet": {
        "block 0": "stage 1",
        "block 1": "the sum of block 0 and stage 0",
        "block 2": "the sum of block 1 and stem",
        "head": "block 2",
    },
    "fpn": {
        "top": "stage 1",
        "block 0": "top",
        "lateral 0": "stage 0",
        "last": "the sum of top and lateral 0",
        "head": "the sum of last and block 0",
        "logits": "head",
    },
    "trans_unet": {
        "patch": "stage 1",
        "blocks": "the sum of patch and positions",
        "refine 0": "queries, stage 0 and blocks",
        "refine 1": "refine 0, stem and blocks",
        "classes": "refine 1",
        "conv": "the product of classes and the product of refine 1 and blocks",
        "conv 0": "the concatenation of conv and stage 0",
        "conv 1": "the concatenation of conv 0 and stem",
        "head": "conv 1",
    },
}


@pytest.mark.parametrize("segmentor", WIRING)
def test_what_feeds_what(segmentor):
    """The wiring of each segmentor, as its paper has it."""
    wanted = {"stem": "image", "stage 0": "stem", "stage 1": "stage 0"} | WIRING[segmentor]
    assert _wiring({"segmentor": segmentor}) == wanted
    deployed = _wiring({"segmentor": segmentor, "deploy": True})
    if segmentor.endswith("unet") and "last" in deployed:
        deployed = {("block 2" if k == "last" else k): v for k, v in deployed.items()}
        deployed["head"] = deployed["head"].replace("last", "block 2")
    joined = "the concatenation of "  # which fused blocks have inside
    plain = [{k: v.removeprefix(joined) for k, v in x.items()} for x in (deployed, wanted)]
    assert plain[0] == plain[1]


def _wiring(options) -> dict[str, str]:
    drawn = scene([resolve("resnet18", {"encoder_depth": 3, **options})])
    fed = {
        box.name: re.search(r", from (.*?)(?:, [\d,]+ parameters|$)", box.title)
        for box in drawn.boxes
        if not box.sign
    }
    return {name: found[1] for name, found in fed.items() if found}


# -- planted faults --------------------------------------------------------------------------------


def _drawn() -> Scene:
    return scene([resolve("resnet18", {"segmentor": "unet"})])


@pytest.mark.parametrize(
    "plant",
    [
        lambda s: replace(s, width=s.width - 40),
        lambda s: replace(s, texts=(*s.texts, replace(s.texts[0], x=s.texts[0].x + 5))),
        lambda s: replace(s, boxes=(s.boxes[0].moved(0, 120), *s.boxes[1:])),
        lambda s: replace(s, boxes=(s.boxes[0].moved(-60, 0), *s.boxes[1:])),
        lambda s: replace(s, arrows=tuple(arrow.moved(0, -30) for arrow in s.arrows)),
        lambda s: replace(s, bars=tuple(bar.moved(0, -60) for bar in s.bars)),
    ],
    ids=["narrow", "text", "box", "edge", "arrows", "bars"],
)
def test_a_fault_of_the_geometry_is_found(plant):
    assert not geometric_faults(_drawn())
    assert geometric_faults(plant(_drawn()))


def test_a_fault_of_what_is_said_is_found():
    model = resolve("resnet18", {"segmentor": "unet"})
    svg, ledger = picture([model]), _ledger(model)
    assert not differences(svg, ledger)
    for old, new in (
        ('data-channels="512"', 'data-channels="511"'),
        (">512</text>", ">511</text>"),
        ('data-size="7x7"', 'data-size="8x8"'),
        (">7×7</text>", ">8×8</text>"),
        ('data-path="decoder.blocks.2"', 'data-path="decoder.blocks.1"'),
        ('data-path="head"', 'data-path="tail"'),
    ):
        assert old in svg
        assert differences(svg.replace(old, new), ledger), old


# -- the file --------------------------------------------------------------------------------------


def test_an_svg_for_readers_and_for_pages():
    """A title, boxes in words, no ids that two drawings in a page would share, nothing fetched."""
    svg = compiler.draw("resnet50", segmentor="attention_unet")
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img" and "ResNet-50 AttentionUNet" in root.get("aria-label")
    assert root.find(f"{SVG}title").text == root.get("aria-label")
    told = root.find(f"{SVG}desc").text
    boxes = [group for group in root.iter(f"{SVG}g") if group.get("data-name")]
    assert len(boxes) > 15 and all(box.find(f"{SVG}title").text + "." in told for box in boxes)
    assert "stage 0 (P2): 256 × 56×56, 3 × Bottleneck, from stem, 215,808 parameters" in svg
    assert "gate 0: 1,024 × 14×14, AttentionGate, from stage 2 and stage 3" in svg
    assert "DecoderBlock, from the concatenation of stage 3 and gate 0" in svg
    assert not re.search(r'\sid="|href|url\(|script', svg)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        *("svg", "title", "desc", "style", "g", "path", "rect", "text")
    }
    used = {name for element in root.iter() for name in (element.get("class") or "").split()}
    styled = set(re.findall(r"\.([a-z]+)", root.find(f"{SVG}style").text))
    plain = {"plainnet", "auto", "box", "arrow", "name", "text", "level", "title", "parameters"}
    assert used - styled <= plain


def test_what_is_cropped_is_not_strided():
    drawn = scene([resolve("resnet18", {"segmentor": "linknet", "input_shape": (97, 101, 3)})])
    styles = [arrow.style for arrow in drawn.arrows if arrow.title == "cropped"]
    assert styles == ["flow"] * 5
    assert [arrow.style for arrow in drawn.arrows].count("down") == 5 + 1  # and of the legend


def test_joins_and_heads_in_words():
    linknet = compiler.draw("resnet18", segmentor="linknet")
    assert "block 1: 128 × 28×28, DecoderBlock, from the sum of block 0 and stage 2" in linknet
    fpn = compiler.draw("resnet18", segmentor="fpn")
    assert "head: 1 × 56×56, 1×1 convolution, from the sum of last, block 2.0, block 2.1" in fpn
    kept = compiler.draw("nnunet_plain", lower_heads=True)
    assert "1×1 convolution, for its weights only, from block 3" in kept
    trained = compiler.draw("nnunet_plain", deep_supervision=True)
    assert "1×1 convolution, in training only, from block 3" in trained


def test_themes():
    by_theme = {theme: compiler.draw("resnet18", theme=theme) for theme in THEMES}
    assert "prefers-color-scheme: dark" in by_theme["auto"]
    for theme in ("light", "dark"):
        assert "prefers-color-scheme" not in by_theme[theme]
        rules = re.findall(r"^(.*) \{", by_theme[theme].partition("</style>")[0], re.MULTILINE)
        assert len(rules) > 20 and all(f".plainnet.{theme} " in rule for rule in rules)
    bodies = {text.partition("</style>")[2].partition("<!--")[0] for text in by_theme.values()}
    assert len(bodies) == 1
    paper = [re.search(r"\.paper \{ fill: (#\w+)", by_theme[t])[1] for t in ("light", "dark")]
    assert len({*paper}) == 2


def test_text_is_escaped():
    text = Text(0, 0, 'a < b & "c"\x1b]]>', role="name")
    root = ElementTree.fromstring(svg_of(Scene(9, 9, texts=(text,), title='<"&'), "light"))
    assert root.get("aria-label") == '<"&'
    assert root.find(f"{SVG}text").text == r'a < b & "c"\x1b]]>'


def test_compared_networks_share_their_scales():
    models = [resolve(name, {"segmentor": "unet"}) for name in ("resnet18", "resnet50")]
    both, (small, large) = scene(models), (scene([model]) for model in models)
    assert not geometric_faults(both)
    count = len(small.boxes)
    sizes = [[(box.area.width, box.area.height) for box in s.boxes] for s in (both, small, large)]
    assert sizes[0][count:] == sizes[2]
    assert sizes[0][:count] != sizes[1]  # alone, 512 channels are the most
    deepest = {box.name: box for box in both.boxes[:count]}["stage 3"]
    wider = {box.name: box for box in both.boxes[count:]}["stage 3"]
    assert wider.area.width == pytest.approx(2 * deepest.area.width)  # 4 times the channels
    bars = {bar.title: bar.area.height for bar in both.bars}
    counts = [(_count(title), height) for title, height in bars.items() if "parameters," in title]
    (first, height), *others = [pair for pair in counts if pair[1] > 1]
    assert all(count / other == pytest.approx(first / height) for count, other in others)


def _count(title: str) -> int:
    return int(re.search(r": ([\d,]+) ", title)[1].replace(",", ""))


# -- the command -----------------------------------------------------------------------------------


def test_the_command_writes_what_the_function_returns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "resnet18_unet", "--dims", "3"]) == 0
    text = (tmp_path / "resnet18_unet_3d.svg").read_text()
    assert text == compiler.draw("resnet18_unet", dims=3) and is_drawing(text)
    assert capsys.readouterr().out == "ResNet-18 UNet 3D: resnet18_unet_3d.svg\n"
    assert main(["draw", "--compare", "resnet18", "resnet34", "-o", "new/", "--theme", "dark"]) == 0
    both = (tmp_path / "new/resnet18_and_resnet34_2d.svg").read_text()
    assert both == compiler.draw("resnet18", compare="resnet34", theme="dark")
    capsys.readouterr()
    assert main(["draw", "resnet18", "-o", "-"]) == 0
    assert capsys.readouterr().out == compiler.draw("resnet18")


def test_the_command_draws_emitted_files(tmp_path, capsys):
    path = tmp_path / "net.py"
    path.write_text(compiler.emit("resnet18", target="torch", segmentor="fpn", dims=3))
    assert main(["draw", str(path), "-o", "-", "--num-classes", "5"]) == 0
    wanted = compiler.draw("resnet18", segmentor="fpn", dims=3, num_classes=5)
    assert capsys.readouterr().out == wanted
    path.write_text("print()")
    assert main(["draw", str(path), "-o", "-"]) == 2
    assert "no provenance of plainnet" in capsys.readouterr().err


def test_the_gallery_is_written_whole_or_not_at_all(tmp_path, capsys):
    folder = tmp_path / "gallery"
    command = ["draw", "--all", "--dims", "3", "-o", str(folder)]
    assert main(command) == 0
    names = {model.name for model in gallery(3)}
    assert {path.name for path in folder.iterdir()} == {f"{name}_3d.svg" for name in names}
    drawn = (folder / "resnet18_3d.svg").read_text()
    assert drawn == compiler.draw("resnet18", dims=3, thumbnail=True)
    (folder / "resnet18_3d.svg").write_text("mine")
    (folder / "resnet34_3d.svg").unlink()
    assert main(command) == 2
    assert "resnet18_3d.svg' is not an unedited drawing" in capsys.readouterr().err
    assert not (folder / "resnet34_3d.svg").exists()


def test_only_an_unedited_drawing_is_replaced(tmp_path, capsys):
    path = tmp_path / "net.svg"
    command = ["draw", "resnet18", "-o", str(path)]
    assert main(command) == 0
    assert main(["draw", "resnet34", "-o", str(path)]) == 0
    assert path.read_text() == compiler.draw("resnet34")
    for text in (path.read_text().replace("stem", "root"), "<svg/>", "", "\xff"):
        path.write_text(text, encoding="latin-1")
        content = path.read_bytes()
        assert main(command) == 2
        assert "--force replaces it" in capsys.readouterr().err
        assert path.read_bytes() == content
    assert main([*command, "--force"]) == 0
    assert path.read_text() == compiler.draw("resnet18")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "error: no model given"),
        (["resnet18", "resnet34"], "error: 2 models given"),
        (["--compare", "resnet18"], "error: --compare draws two models, not 1"),
        (
            ["--compare", "resnet1", "resnet2"],
            "unknown encoder 'resnet1'.*unknown encoder 'resnet2",
        ),
        (["resnet18", "--theme", "drak"], "error: --theme is 'drak'. Did you mean 'dark'?"),
        (["resnet18", "-o", "net"], "error: -o net has no suffix .svg and is not a folder"),
        (["resnet18", "-o", ""], "error: -o is empty"),
        (["resnet18", "-o", "none/net.svg"], "error: there is no folder 'none'"),
        (["--all"], "error: --all writes into a folder"),
        (["--all", "resnet18", "--deploy"], "leave out resnet18, --deploy"),
        (["--all", "-o", "new/", "--dims", "4"], "error: --dims is '4'"),
        (["--compare", "--thumbnail", "resnet18", "resnet34"], "a thumbnail shows one model"),
        (["resnet18", "-o", "/dev/null"], "error: -o /dev/null has no suffix"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["draw", *words]) == 2
    assert re.search(re.escape(message).replace(r"\.\*", ".*"), capsys.readouterr().err, re.DOTALL)
    assert not [*tmp_path.iterdir()]


# -- the documentation -----------------------------------------------------------------------------


def test_drawings_in_the_documentation_are_what_their_commands_write(tmp_path, monkeypatch):
    page = (ROOT / "docs/draw.md").read_text()
    commands = re.findall(r"^plainnet (draw .* -o docs/drawings/.*)$", page, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs/drawings").mkdir(parents=True)
    for command in commands:
        assert main(command.split()) == 0
    drawn, kept = (
        {path.name: path.read_text() for path in (root / "docs/drawings").iterdir()}
        for root in (tmp_path, ROOT)
    )
    assert drawn == kept and len(kept) == 3
    for name in kept:
        assert f"(drawings/{name})" in page
