"""What the page asks of the compiler: its answers, the marks, dropped files, and the server."""

import ast
import http.client
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import webbrowser
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

import compiler
from compiler.catalog import ENCODERS
from compiler.commands.cli import main
from compiler.costs import cost_description
from compiler.deployment import HEAD, STEM
from compiler.emitter import compiled
from compiler.limits import LIMITS
from compiler.names import plain
from compiler.options import OPTIONS
from compiler.page.answers import SETTINGS, answer
from compiler.page.gallery import write
from compiler.page.marks import line_keys, row_keys
from compiler.page.serving import HEADERS, server
from compiler.passes.specialize import specialize
from compiler.passes.validate import resolve
from compiler.provenance import read
from compiler.segmentors import SEGMENTORS
from compiler.spec.writing import spec_text
from compiler.targets import TARGETS, target_named

from .harness import tiny

ROOT = Path(__file__).parent.parent
SITE = ROOT / "site"
ORACLE = Path(__file__).parent / "oracle/nnunet"
UNET = {"model": "seresnext50", "options": {"dims": "3", "segmentor": "unet"}}


def ask(question, **more):
    """The answer to a question; what it must not be is `problems`."""
    return json.loads(answer(json.dumps({"ask": question, **more})))["answer"]


def told(question, **more):
    """The problems that are the answer."""
    return json.loads(answer(json.dumps({"ask": question, **more})))["problems"]


def test_the_form_holds_every_option_encoder_and_target():
    tables = ask("form")
    fields = {field["name"]: field for field in tables["fields"]}
    assert [*fields][: len(OPTIONS)] == [option.name for option in OPTIONS]
    assert all(field["help"] and field["flag"] for field in fields.values())
    assert {row["name"] for row in tables["encoders"]} == {*ENCODERS}
    assert {row["name"] for row in tables["segmentors"]} == {*SEGMENTORS}
    assert {row["name"] for row in tables["targets"]} == {*TARGETS}
    assert fields["patch_size"]["encoders"] == ["nnunet_plain", "nnunet_resenc"]
    for name in ("activation", "se_activation"):
        assert "gelu" in fields[name]["choices"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_source_is_that_of_emit(target, capsys):
    assert (
        main(["emit", "seresnext50", "--dims=3", "--segmentor=unet", f"--target={target}", "-o-"])
        == 0
    )
    source = ask("source", network=UNET, target=target)
    assert source["text"] == capsys.readouterr().out
    assert source["command"] in source["text"]
    assert source["file"] == "seresnext50_unet_3d.py"
    called = eval(source["call"], {"plainnet": compiler})
    assert called == source["text"]


def test_a_spec_is_the_network_of_its_name():
    spec = ask("spec", network=UNET)["text"]
    for target in TARGETS:
        both = [
            ask("source", network=network, target=target)["text"]
            for network in (UNET, {"spec": spec, "options": {}})
        ]
        assert both[0] == both[1]


def test_the_command_of_a_custom_encoder_names_its_spec(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = spec_text(resolve(tiny(), {"dims": 3, "segmentor": "unet"}))
    network = {"spec": text, "options": {"num_classes": "4"}}
    source = ask("source", network=network, target="torch")
    Path("net.toml").write_text(text)
    words = source["command"].split()
    assert words[:2] == ["plainnet", "emit"]
    assert main([*words[1:], "-o", "-"]) == 0
    assert capsys.readouterr().out == source["text"]
    assert eval(source["call"], {"plainnet": compiler}) == source["text"]


def test_the_facts_are_those_of_describe():
    facts = ask("network", network=UNET)
    said = compiler.describe("seresnext50", dims=3, segmentor="unet")
    same = {name: value for name, value in said.items() if name not in ("ledger", "notes")}
    assert {name: facts[name] for name in same} == json.loads(json.dumps(same))
    for row, known in zip(facts["ledger"], said["ledger"], strict=True):
        assert {name: row[name] for name in known} == json.loads(json.dumps(known))
    assert sum(step["macs"] for step in facts["steps"]) == facts["macs"]
    assert facts["values"]["decoder_filters"] == "256,128,64,32,16"
    assert facts["values"]["in_channels"] == "4"
    assert "dropout" not in facts["values"]  # no option of a UNet


@pytest.mark.parametrize("shape", ["96,96,96,4", "32,32,32,1"])
def test_the_advice_is_that_of_lint(shape):
    network = {"model": "seresnext50", "options": {**UNET["options"], "input_shape": shape}}
    found = ask("network", network=network)
    notes = compiler.lint("seresnext50", dims=3, segmentor="unet", input_shape=shape)
    assert found["notes"] == [note.described() for note in notes]
    assert any(note["kind"] == "warning" for note in found["notes"]) == (shape == "32,32,32,1")
    steps = {step["name"] for step in found["steps"]}
    assert {step for note in found["notes"] for step in note["steps"]} <= steps


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"dims": "4"}, [["dims"]]),
        ({"in_channels": "x", "norm": "cake"}, [["in_channels"], ["norm"]]),
        ({"patch_size": "8,8"}, [["patch_size"]]),
        ({"dropout": "1", "segmentor": "trans_unet"}, [["dropout"]]),
    ],
)
def test_problems_stand_beside_their_fields(options, fields):
    problems = told("network", network={"model": "resnet18", "options": options})
    assert [problem["fields"] for problem in problems] == fields


def test_problems_are_in_the_words_of_the_compiler():
    with pytest.raises(compiler.CompileError) as caught:
        compiler.emit("seresnet5", target="torch", dims="5")
    network = {"model": "seresnet5", "options": {"dims": "5"}}
    problems = told("source", network=network, target="torch")
    assert [p["message"] for p in problems] == [p.message for p in caught.value.problems]
    assert problems[0]["fields"] == ["model"]


def test_a_problem_of_a_spec_has_its_line_and_no_folder():
    spec = ask("spec", network=UNET)["text"].replace("dims =", "dimz =")
    (problem,) = told("network", network={"spec": spec, "options": {}})
    assert re.match(r"net\.toml:\d+, dimz", problem["at"])
    assert problem["fields"] == ["model"]


def test_what_a_target_lacks_is_a_problem_of_its_source_alone():
    network = {"model": "resnet18", "options": {"checkpointing": True}}
    assert ask("source", network=network, target="torch")["text"]
    assert ask("network", network=network)["title"]
    (problem,) = told("source", network=network, target="keras")
    assert problem["fields"] == ["checkpointing"]


MARKED = [
    ("resnet50v2", {}),
    ("seresnet50vd", {"dims": 2, "features_only": True}),
    ("seresnext50", {"deploy": True}),
    ("resnet18", {"norm": "group", "dropout": 0.1, "include_rescaling": True}),
    ("nnunet_plain", {"dims": 2}),
    ("nnunet_resenc", {"dims": 2, "deep_supervision": True}),
    ("resnet34", {"segmentor": "unet_plus_plus", "deep_supervision": True}),
    *(
        ("seresnext50", {"segmentor": name, "dims": 2 + i % 2, "deploy": i % 3 == 0 or None})
        for i, (name, row) in enumerate(SEGMENTORS.items())
        if not row.head.exact
    ),
]


@pytest.mark.parametrize(("name", "options"), MARKED, ids=lambda part: str(part))
def test_every_row_has_lines_in_every_target(name, options):
    """And they name the layer: what the page marks is what the row is about."""
    model = resolve(name, options)
    for target in TARGETS:
        text, ledger = compiled(model, target)
        network = specialize(target_named(target).built(model))
        rows, lines = row_keys(network, ledger), line_keys(text, network, ledger)
        assert [*rows] == [row.path for row in ledger.rows]
        found: dict[str, list[int]] = {}
        for line, keys in lines.items():
            for key in keys:
                found.setdefault(key, []).append(line)
        steps = {key for keys in rows.values() for key in keys if key.startswith("step ")}
        layers = {key for keys in rows.values() for key in keys} - steps
        assert layers <= {*found}, layers - {*found}
        assert {*found} <= layers | steps
        assert {f"step stage {i}" for i in range(len(model.trunk.depths))} <= {*found}
        parts = _parts(text)
        source = text.splitlines()
        for key in layers:
            owner, layer = key.split(".")
            first, last = parts[owner]
            assert all(first <= line <= last for line in found[key]), key
            joined = [" ".join(source[line - 1 : line + 6]) for line in found[key]]
            assert any(re.search(rf"(\b|_){layer}(\b|_)", line) for line in joined), key


def test_a_row_without_lines_is_found():
    """The fault that the test above looks for: a layer that a file calls otherwise."""
    model = resolve("resnet18", {})
    text, ledger = compiled(model, "torch")
    network = specialize(model)
    layers = {key for keys in row_keys(network, ledger).values() for key in keys}
    whole = {key for keys in line_keys(text, network, ledger).values() for key in keys}
    planted = text.replace("self.conv2", "self.convolution")
    marked = {key for keys in line_keys(planted, network, ledger).values() for key in keys}
    assert layers <= whole
    assert layers - marked == {"basicblock.conv2"}


def _parts(text):
    """Where each class and function of a text stands, by its plain name."""
    tree = ast.parse(text)
    parts = {plain(part.name): part for part in tree.body if hasattr(part, "name")}
    assert plain(STEM) not in parts and plain(HEAD) not in parts
    return {name: (part.lineno, part.end_lineno) for name, part in parts.items()}


def test_a_row_is_nearest_to_its_own_layer():
    rows = {row["path"]: row["keys"] for row in ask("network", network=UNET)["ledger"]}
    assert rows["encoder.stages.1.2.se.conv1"] == [
        "squeezeexcite.conv1",
        "bottleneck.se",
        "encoder.stages",
        "step stage 1",
    ]
    assert rows["decoder.blocks.0.conv1"] == [
        "decoderblock.conv1",
        "decoder.blocks",
        "step block 0",
    ]
    assert rows["head"] == ["seresnext50unet.head", "step head"]


def test_an_emitted_file_says_what_became_of_it(monkeypatch):
    monkeypatch.setenv("PLAINNET_CACHE_DIR", "")
    text = ask("source", network=UNET, target="keras")["text"]
    found = ask("dropped", files={"net.py": text})
    assert (found["kind"], found["state"], found["diff"]) == ("emitted", "clean", "")
    (only,) = found["networks"]
    assert only["network"] == {**UNET, "target": "keras"}
    edited = ask("dropped", files={"net.py": text.replace("SE_RATIO = 16", "SE_RATIO = 8")})
    assert edited["state"] == "edited"
    assert "-SE_RATIO = 16\n+SE_RATIO = 8\n" in edited["diff"]
    assert edited["diff"].startswith("--- net.py (as emitted)\n+++ net.py\n")
    stale = (ROOT / "examples/vendored/nets/unet.py").read_text()
    assert "stale" in ask("dropped", files={"net.py": stale})["state"]


def test_an_emitted_file_of_a_custom_encoder_comes_back_as_a_spec():
    text = compiler.emit(tiny(), target="torch", dims=3)
    (only,) = ask("dropped", files={"tiny.py": text})["networks"]
    assert ask("source", network=only["network"], target="torch")["text"] == text


def test_a_spec_that_is_dropped_stays_as_it_is():
    spec = (ROOT / "examples/thin_slice.toml").read_text()
    found = ask("dropped", files={"thin_slice.toml": spec})
    assert found["networks"] == [{"label": "", "network": {"spec": spec, "options": {}}}]
    (problem,) = told("dropped", files={"thin_slice.toml": spec + "\nnonsense = 3\n"})
    assert problem["at"].startswith("thin_slice.toml:")


@pytest.mark.parametrize("name", ["isotropic_plain_old_form", "thick_slices_resenc_m"])
def test_plans_of_nnunet_come_with_their_dataset(name, tmp_path, capsys):
    folder = ORACLE / "plans_examples"
    files = {
        "nnUNetPlans.json": (folder / f"{name}.plans.json").read_text(),
        "other.json": (folder / f"{name}.dataset.json").read_text(),
    }
    found = ask("dropped", files=files)
    assert (found["kind"], found["name"]) == ("plans", "nnUNetPlans.json")
    (tmp_path / "nnUNetPlans.json").write_text(files["nnUNetPlans.json"])
    (tmp_path / "dataset.json").write_text(files["other.json"])
    labels = [each["label"] for each in found["networks"]]
    assert set(labels) <= {*json.loads(files["nnUNetPlans.json"])["configurations"]}
    for each in found["networks"]:
        path = str(tmp_path / "nnUNetPlans.json")
        words = ["emit", path, "--configuration", each["label"], "--target", "torch", "-o", "-"]
        assert main(words) == 0
        source = ask("source", network=each["network"], target="torch")
        # A spec of the very encoder of the catalog is emitted under that name, with its command.
        assert read(source["text"]).text == read(capsys.readouterr().out).text
    problem, *_ = told("dropped", files={"nnUNetPlans.json": files["nnUNetPlans.json"]})
    assert "there is no dataset.json beside it" in problem["message"]


@pytest.mark.parametrize(
    "files",
    [
        {"net.py": "import os\n"},
        {"net.toml": "]"},
        {"plans.json": "{}"},
        {"plans.json": "["},
        {"nnUNetPlans.json": '{"configurations": {"2d": {}}}'},
        {"photo.png": ""},
        {"a.toml": "", "b.py": ""},
        {"../../etc/passwd": "root"},
        {"": ""},
        {"net.toml": "x = '\ud800'"},
        {"net.toml\0": ""},
    ],
    ids=str,
)
def test_what_is_no_network_is_a_problem(files):
    problems = told("dropped", files=files)
    assert problems and "/tmp" not in json.dumps(problems)


def test_the_catalog_is_one_click_from_its_files(tmp_path):
    write(tmp_path)
    found = json.loads((tmp_path / "catalog.json").read_text())
    assert found["form"] == ask("form")
    assert {piece["network"]["model"] for piece in found["gallery"]} == {*ENCODERS}
    assert len({piece["drawing"] for piece in found["gallery"]}) == len(found["gallery"])
    for piece in found["gallery"][::9]:
        network = piece["network"]
        facts = ask("network", network=network)
        assert facts["title"] == piece["title"]
        assert facts["parameters"]["trainable"] == piece["parameters"]
        drawing = (tmp_path / piece["drawing"]).read_text()
        assert drawing == compiler.draw(network["model"], thumbnail=True, **network["options"])


def test_drawings_and_differences_are_those_of_two_networks():
    other = {"model": "resnet18", "options": {"dims": "3"}}
    drawing = ask("drawing", networks=[UNET, other])
    assert drawing["file"] == "seresnext50_unet_and_resnet18_3d.svg"
    assert drawing["svg"].count("<svg") == 1
    paths = {row["path"] for row in ask("network", network=UNET)["ledger"]}
    single = ask("drawing", networks=[UNET])["svg"]
    for told_of in re.findall(r'<g class="box [^>]*data-path="([^"]*)"', single):
        for path in told_of.split():
            assert any(f"{known}.".startswith(f"{path}.") for known in paths), path
    diff = ask("compare", network=UNET, other=other, target="torch")
    assert diff["text"].startswith("--- seresnext50_unet_3d.py\n+++ resnet18_3d.py\n")
    assert ask("compare", network=UNET, other=UNET, target="keras")["text"] == ""


def test_neither_click_nor_rich_nor_a_framework_is_needed():
    """The page's archive has no rich, and imports nothing that it need not."""
    program = (
        "import sys; sys.modules['rich'] = None\n"
        "from compiler.page.answers import SETTINGS, answer; import json\n"
        f"asked = {{'ask': 'source', 'target': 'torch', 'network': {UNET!r}}}\n"
        "assert 'text' in json.loads(answer(json.dumps(asked)))['answer']\n"
        "assert not {'torch', 'keras', 'numpy', 'tensorflow'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_wheels_are_those_of_the_constraints():
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    text = (SITE / "requirements.txt").read_text() + (
        SITE / "requirements-python-only.txt"
    ).read_text()
    found = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", text, re.MULTILINE))
    assert len(found) == text.count("--hash=sha256:")
    assert {"black", "click", "jinja2", "msgspec"} <= {*found}
    for name in found.keys() & pins.keys():
        assert found[name] == pins[name], name


def test_no_registry_is_named_in_the_lock():
    lock = json.loads((SITE / "package-lock.json").read_text())
    assert not [name for name, each in lock["packages"].items() if "resolved" in each]
    wanted = json.loads((SITE / "package.json").read_text())
    pins = [*wanted["dependencies"].values(), *wanted["devDependencies"].values()]
    assert all(re.fullmatch(r"[0-9.]+", pin) for pin in pins)


@pytest.fixture
def page(tmp_path):
    """A served folder: its connection."""
    (tmp_path / "pyodide").mkdir()
    (tmp_path / "assets").mkdir()
    (tmp_path / "data-1/pyodide").mkdir(parents=True)
    for name in (
        "data-1/pyodide/python.zip",
        "index.html",
        "pyodide/pyodide.asm.wasm",
        "pyodide/pyodide.mjs",
        "assets/a-1.js",
    ):
        (tmp_path / name).write_text("x")
    with server(tmp_path, 0) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", running.server_address[1], timeout=10)
        yield connection
        connection.close()
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/pyodide/pyodide.asm.wasm", "application/wasm"),
        ("/pyodide/pyodide.mjs", "text/javascript; charset=utf-8"),
        ("/assets/a-1.js", "text/javascript; charset=utf-8"),
        ("/data-1/pyodide/python.zip", "application/zip"),
    ],
)
def test_files_are_served_with_their_types_and_headers(page, path, kind):
    page.request("GET", path)
    response = page.getresponse()
    response.read()
    assert response.status == 200
    assert response.headers["Content-Type"] == kind
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    lasting = "immutable" in response.headers["Cache-Control"]
    assert lasting == path.startswith(("/assets/", "/data-1/"))


@pytest.mark.parametrize("path", ["/assets/", "/../../../etc/passwd", "/%2e%2e/conftest.py", "/no"])
def test_nothing_else_is_served(page, path):
    page.request("GET", path)
    response = page.getresponse()
    response.read()
    assert response.status == 404


def test_a_browser_that_leaves_is_no_error(page, capfd):
    for _ in range(3):
        gone = socket.create_connection((page.host, page.port), timeout=10)
        gone.sendall(b"GET / HTTP/1.1\r\n")
        reset = struct.pack("ii", 1, 0)
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        gone.close()
    page.request("GET", "/")
    assert page.getresponse().read() == b"x"
    time.sleep(0.2)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--folder", "nowhere"], "hint run `npm ci && npm run build` in the folder site/"),
        (["--port", "many"], "--port has 'many', which is not a whole number"),
        (["--port", "70000"], "--port has 70000, which is above 65,535"),
    ],
)
def test_page_says_what_is_wrong(words, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["page", "--no-browser", *words]) == 2
    assert says in capsys.readouterr().err
    assert "PORT" in LIMITS


def test_two_pages_at_once_have_two_ports(tmp_path):
    (tmp_path / "index.html").write_text("x")
    with server(tmp_path) as first, server(tmp_path) as second:
        ports = {first.server_address[1], second.server_address[1]}
        assert len(ports) == 2 and 0 not in ports


def test_a_port_that_is_taken_is_said(tmp_path, capsys):
    (tmp_path / "index.html").write_text("x")
    with server(tmp_path, 0) as running:
        port = str(running.server_address[1])
        words = ["page", "--no-browser", "--folder", str(tmp_path), "--port", port]
        assert main(words) == 2
    assert "another program uses it" in capsys.readouterr().err


def test_the_cost_is_that_of_show():
    settings = {"batch": "2", "precision": "bf16", "optimizer": "sgd"}
    said = compiler.cost("seresnext50", dims=3, segmentor="unet", **settings)
    found = ask("cost", network=UNET, settings=settings)
    assert found == json.loads(json.dumps(cost_description(said)))
    usual = ask("cost", network=UNET, settings={"batch": ""})
    assert (usual["batch"], usual["precision"], usual["optimizer"]) == (1, "fp32", "adamw")
    (problem,) = told("cost", network=UNET, settings={"batch": "0"})
    assert problem["fields"] == ["batch"]
    settings = {row["name"]: row["choices"] for row in ask("form")["settings"]}
    assert settings.keys() == SETTINGS.keys()
    assert "bf16" in settings["precision"] and "sgd" in settings["optimizer"]


def test_the_plan_is_that_of_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = {"memory": "6GiB", "batch": "2", "precision": "bf16", "shape": "40,512,512"}
    settings |= {"spacing": "5,1.5,1.5"}
    words = [f"--{name}={value}" for name, value in settings.items()]
    assert main(["plan", "seresnext50", "--dims=3", "--segmentor=unet", "--json", *words]) == 0
    said = json.loads(capsys.readouterr().out)
    assert ask("plan", network=UNET, settings=settings) == said
    assert said["training"][0]["largest"]["batch"] == 2
    spec = {"spec": ask("spec", network=UNET)["text"], "options": {}}
    (tmp_path / "net.toml").write_text(spec["spec"])
    assert main(["plan", "net.toml", "--json", "--memory=24GiB"]) == 0
    assert ask("plan", network=spec) == json.loads(capsys.readouterr().out)
    problems = told("plan", network=UNET, settings={"memory": "much", "shape": "x"})
    assert [problem["fields"] for problem in problems] == [["memory"], ["shape"]]


@pytest.mark.parametrize("quiet", [False, True])
def test_page_opens_a_browser_until_it_is_stopped(quiet, tmp_path, monkeypatch, capsys):
    (tmp_path / "index.html").write_text("x")
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", interrupted)
    words = ["page", "--folder", str(tmp_path), *["--no-browser"] * quiet]
    assert main(words) == 0
    (url,) = re.findall(r"http://127\.0\.0\.1:\d+/", capsys.readouterr().out)
    assert opened == ([] if quiet else [url])


def test_a_browser_that_leaves_does_not_end_the_server(tmp_path):
    """In a process of its own, where the command line ends at a closed pipe."""
    (tmp_path / "index.html").write_text("x")
    (tmp_path / "large.zip").write_bytes(bytes(2**25))
    words = ["-u", "-m", "compiler", "page", "--no-browser", "--folder", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        port = int(running.stdout.readline().split("/")[2].split(":")[1])
        try:
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", port), timeout=10) as gone:
                    gone.sendall(b"GET /large.zip HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert gone.recv(1000).startswith(b"HTTP/1.1 200 ")
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"x"
            connection.close()
            assert running.poll() is None
            running.send_signal(signal.SIGINT)
            assert running.wait(10) == 0
        finally:
            running.kill()
