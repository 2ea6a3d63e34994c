"""Several processes or devices train the emitted UNet as one does on the same global batch."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import compiler

from .harness import QUICKLY_COMPILED, constructor

EXAMPLE = Path(__file__).parents[1] / "examples/distributed"
ARGUMENTS = ["--steps", "4", "--size", "16"]
# Every run of the script in one process each, as most of its time goes into imports.
TORCH = f"""
import json, os
import torch.distributed as dist
import train_torch, unet_batch, unet_torch

dist.init_process_group("gloo")  # once: a second group in the same processes may fail to connect
dist.init_process_group = dist.destroy_process_group = lambda *backend: None

def train(*more):
    return train_torch.main([*{ARGUMENTS}, *more])

rank = os.environ["RANK"]
runs = {{"ddp": train("-o", "ddp.pt"), "fsdp": train("--engine", "fsdp", "-o", "fsdp.pt")}}
train_torch.SmallUNet = unet_batch.SmallUNet
runs["batch norm, ddp"] = train()
if rank == "0":
    del os.environ["WORLD_SIZE"], os.environ["RANK"]
    runs["batch norm, one"] = train()
    train_torch.SmallUNet = unet_torch.SmallUNet
    runs["one"] = train("-o", "one.pt")
    open("runs.json", "w").write(json.dumps(runs))
"""
KERAS = f"""
import json
import train_keras

runs = [train_keras.main([*{ARGUMENTS}, "--devices", str(count)]) for count in (1, 2)]
open("runs.json", "w").write(json.dumps(runs))
"""


def run(folder: Path, command: list[str], code: str, **environment: str):
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    (folder / "driver.py").write_text(code)
    result = subprocess.run(
        [sys.executable, *command, "driver.py"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.startswith("step  1  loss 0.")
    return json.loads((folder / "runs.json").read_text())


def test_ddp_and_fsdp_train_as_one_process(tmp_path):
    """With batch norm they don't, as each process takes statistics of its own images."""
    text = compiler.emit(EXAMPLE / "unet.toml", target="torch")
    (tmp_path / "unet_torch.py").write_text(text)
    batch = compiler.emit(EXAMPLE / "unet.toml", target="torch", norm="batch")
    (tmp_path / "unet_batch.py").write_text(batch)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    runs = run(tmp_path, command, TORCH)
    state = {name: torch.load(tmp_path / f"{name}.pt") for name in ("one", "ddp", "fsdp")}
    constructor(text)().load_state_dict(state["fsdp"])
    for engine in ("ddp", "fsdp"):
        assert runs[engine] == pytest.approx(runs["one"], rel=1e-5)
        torch.testing.assert_close(state[engine], state["one"], rtol=1e-3, atol=1e-4)
    assert len(set(runs["one"])) == 4
    assert np.abs(np.subtract(runs["batch norm, ddp"], runs["batch norm, one"])).max() > 1e-3


def test_devices_train_as_one_device(tmp_path):
    """With batch norm too: JAX computes on the global batch, whatever device holds it."""
    spec = (EXAMPLE / "unet.toml").read_text()
    spec = re.sub(r"(channels = |\[)(16|32)", r"\g<1>8", spec)
    (tmp_path / "small.toml").write_text(spec)  # JAX compiles for each shape of a weight
    text = compiler.emit(tmp_path / "small.toml", target="keras", norm="batch")
    (tmp_path / "unet_keras.py").write_text(text)
    flags = f"{QUICKLY_COMPILED} --xla_force_host_platform_device_count=2"
    one, two = run(tmp_path, [], KERAS, XLA_FLAGS=flags)
    assert two == pytest.approx(one, rel=1e-5) and len(set(one)) == 4
