"""Train an emitted 3D UNet on several devices with `keras.distribution`, on JAX.

    plainnet emit unet.toml --target keras -o unet_keras.py
    python train_keras.py
    python train_keras.py --devices 2

Both print the same losses: each device takes its share of the same global batch. Without several
accelerators, JAX splits the CPU into as many devices as are asked for.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np


def batches(steps: int, count: int, size: int):
    """Batches: noise, and where the mean of its neighbors along an axis is positive."""
    rng = np.random.default_rng(0)
    for _ in range(steps):
        image = rng.standard_normal((count, size, size, size, 1), "float32")
        near = np.roll(image, 1, axis=3) + image + np.roll(image, -1, axis=3)
        yield image, (near > 0).astype("float32")


def main(arguments: list[str] | None = None) -> list[float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=4, help="images of all devices together")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("-o", type=Path, help="save the weights as .weights.h5")
    asked = parser.parse_args(arguments)
    if asked.batch % asked.devices:
        parser.error(f"--batch {asked.batch} does not divide among {asked.devices} devices")

    os.environ["KERAS_BACKEND"] = "jax"  # these two are read when Keras and JAX are imported
    flags = os.environ.get("XLA_FLAGS", "")
    if "device_count" not in flags:
        count = f"--xla_force_host_platform_device_count={asked.devices}"
        os.environ["XLA_FLAGS"] = f"{flags} {count}"
    import keras
    from unet_keras import SmallUNet

    devices = keras.distribution.list_devices()[: asked.devices]
    if len(devices) < asked.devices:
        parser.error(f"--devices {asked.devices}: JAX finds {len(devices)}")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    keras.utils.set_random_seed(0)
    model = SmallUNet(input_shape=(asked.size,) * 3 + (1,))  # its weights go to every device
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9), keras.losses.BinaryCrossentropy(from_logits=True)
    )
    losses = []
    for image, mask in batches(asked.steps, asked.batch, asked.size):
        losses.append(float(model.train_on_batch(image, mask)))
        model.reset_metrics()
        print(f"step {len(losses):2}  loss {losses[-1]:.6f}", flush=True)
    if asked.o:
        model.save_weights(asked.o)
    return losses


if __name__ == "__main__":
    main()
