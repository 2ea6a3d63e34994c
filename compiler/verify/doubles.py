"""Keras in float64, on every backend."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from compiler.errors import CompileError, Problem


@contextlib.contextmanager
def floating(dtype: str) -> Iterator[None]:
    """Keras layers made and run inside have this dtype, and compute in it.

    Raises `CompileError` where this Keras does not compute in float64.
    """
    import keras
    from keras.src.backend.common import dtypes

    before = keras.config.floatx(), keras.config.dtype_policy()
    # On torch and JAX, Keras takes 64 bits back to 32 wherever two dtypes meet, as in BatchNorm.
    reduced = getattr(dtypes, "BIT64_TO_BIT32_DTYPE", {})
    kept = dict(reduced)
    reduced["float64"] = "float64"
    restore = _tensorflow_pools() if keras.backend.backend() == "tensorflow" else lambda: None
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        if keras.backend.result_type("float64", "float32") != "float64":
            raise CompileError(
                Problem(
                    f"Keras {keras.__version__} does not compute in float64 on this backend",
                    hint="--backend tensorflow does",
                )
            )
        yield
    finally:
        restore()
        reduced.update(kept)
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def _tensorflow_pools() -> Callable[[], None]:
    """TensorFlow pools volumes in float32 only: in float64, planes are pooled and then lines.

    The same numbers: a window's maximum, and its mean (padding not counted), go axis by axis.
    Returns what takes it back.
    """
    import tensorflow as tf
    from keras.src.backend import nn

    kept = {"max_pool": nn.max_pool, "average_pool": nn.average_pool}
    pools = {"max_pool": tf.nn.max_pool2d, "average_pool": tf.nn.avg_pool2d}

    def separable(name: str) -> Callable[..., Any]:
        def pool(x: Any, pool_size: Any, strides: Any = None, *args: Any, **kwargs: Any) -> Any:
            if len(x.shape) != 5 or x.dtype != tf.float64:
                return kept[name](x, pool_size, strides, *args, **kwargs)
            padding = (args[0] if args else kwargs.get("padding", "valid")).upper()
            kernel, step = (
                (value,) * 3 if isinstance(value, int) else tuple(value)
                for value in (pool_size, strides or pool_size)
            )
            _, d, h, w, c = x.shape
            x = pools[name](tf.reshape(x, (-1, h, w, c)), kernel[1:], step[1:], padding)
            h, w = x.shape[1:3]
            x = tf.reshape(x, (-1, d, h * w, c))
            x = pools[name](x, (kernel[0], 1), (step[0], 1), padding)
            return tf.reshape(x, (-1, x.shape[1], h, w, c))

        return pool

    for name in kept:
        setattr(nn, name, separable(name))

    def restore() -> None:
        for name, function in kept.items():
            setattr(nn, name, function)

    return restore
