"""Run a trained nnU-Net over a volume without nnU-Net: an emitted file and MONAI's sliding window.

    pip install -e . torch safetensors monai
    python examples/nnunet_standalone.py fold_0/checkpoint_final.pth

Emits the checkpoint's network, converts its weights, and predicts a volume of noise patch by patch,
with overlapping windows weighted by a Gaussian, as nnU-Net does. A real volume first needs what
nnU-Net does before its network: resampling to the spacing of the plans, and normalization.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from monai.inferers import sliding_window_inference

import compiler


def network_of(checkpoint: Path, folder: Path) -> tuple[torch.nn.Module, tuple[int, ...]]:
    """The network of a checkpoint with its weights, and the patch that it was trained on."""
    file, weights = folder / "network.py", folder / "network.safetensors"
    file.write_text(compiler.emit(checkpoint, target="torch"))
    compiler.convert(checkpoint, weights, file, layout="nnunet")
    patch: Any = compiler.describe(checkpoint)["input_shape"]
    spec = importlib.util.spec_from_file_location("network", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = getattr(module, module.__all__[0])().eval()
    network.load_state_dict(safetensors.torch.load_file(weights))
    return network, tuple(patch[:-1])


def predict(network: torch.nn.Module, volume: torch.Tensor, patch: tuple[int, ...]) -> torch.Tensor:
    """The logits of a volume, (N, C, ...), which may have any sizes."""
    with torch.inference_mode():
        logits = sliding_window_inference(
            volume, patch, sw_batch_size=2, predictor=network, overlap=0.5, mode="gaussian"
        )
    assert isinstance(logits, torch.Tensor)
    return logits


def main(checkpoint: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        network, patch = network_of(Path(checkpoint), Path(folder))
    channels = next(network.parameters()).shape[1]
    volume = torch.randn(1, channels, *(n + n // 2 + 1 for n in patch))
    logits = predict(network, volume, patch)
    print(f"patch {patch}, volume {tuple(volume.shape)} -> logits {tuple(logits.shape)}")


if __name__ == "__main__":
    main(sys.argv[1])
