"""Keras in float64, on every backend."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import CompileError, Problem


@contextlib.contextmanager
def floating(dtype: str) -> Iterator[None]:
    """Build and run Keras layers in this dtype.

    Raises `CompileError` if this version of Keras cannot compute in float64.
    """
    import keras
    from keras.src.backend.common import dtypes

    before = keras.config.floatx(), keras.config.dtype_policy()
    # On torch and JAX, Keras casts 64 bits to 32 wherever two dtypes meet, as in batch norm.
    reduced = getattr(dtypes, "BIT64_TO_BIT32_DTYPE", {})
    kept = dict(reduced)
    reduced["float64"] = "float64"
    restore = {"tensorflow": _tensorflow, "jax": _jax}.get(keras.backend.backend(), _nothing)()
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


def _nothing() -> Callable[[], None]:
    return lambda: None


def _jax() -> Callable[[], None]:
    """Compute the softmax of JAX's attention in float64. Returns a function that undoes it."""
    import jax.numpy as jnp
    from jax.nn import softmax
    from keras.src.backend import nn

    kept = nn.dot_product_attention

    def attention(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        if query.dtype != jnp.float64:
            return kept(query, key, value, *args, **kwargs)
        scale = kwargs.get("scale") or query.shape[-1] ** -0.5
        scores = jnp.einsum("btnh,bsnh->bnts", query * scale, key)
        if kwargs.get("mask") is not None:
            scores = jnp.where(kwargs["mask"], scores, jnp.finfo(scores.dtype).min)
        return jnp.einsum("bnts,bsnh->btnh", softmax(scores, axis=-1), value)

    nn.dot_product_attention = attention

    def restore() -> None:
        nn.dot_product_attention = kept

    return restore


def _tensorflow() -> Callable[[], None]:
    """Compute in float64 what TensorFlow has in float32 only. Returns a function that undoes it."""
    import tensorflow as tf
    from keras.src.backend import core, nn

    cast, gelu, attention = core.cast, nn.gelu, nn.dot_product_attention

    def cast_numbers(x: Any, dtype: Any) -> Any:
        """Convert a Python float directly: Keras would round it to 32 bits first."""
        return tf.constant(x, dtype) if isinstance(x, float) else cast(x, dtype)

    def scaled_attention(query: Any, *args: Any, scale: float | None = None, **kwargs: Any) -> Any:
        """Scale the query in float64: Keras would round the scale to 32 bits, but 1 is exact."""
        exact = query.shape[-1] ** -0.5 if scale is None else scale
        query = query * tf.constant(exact, query.dtype)
        return attention(query, *args, scale=1.0, **kwargs)

    def exact_gelu(x: Any, approximate: bool = True) -> Any:
        """GELU with a square root of two in float64; that of TensorFlow is in float32."""
        if approximate or x.dtype != tf.float64:
            return gelu(x, approximate)
        return 0.5 * x * (1 + tf.math.erf(x * tf.constant(0.5, x.dtype) ** 0.5))

    changed = [
        (core, "cast", cast_numbers),
        (nn, "gelu", exact_gelu),
        (nn, "dot_product_attention", scaled_attention),
        (nn, "max_pool", _separable(nn.max_pool, tf.nn.max_pool2d)),
        (nn, "average_pool", _separable(nn.average_pool, tf.nn.avg_pool2d)),
    ]
    kept = [(module, name, getattr(module, name)) for module, name, _ in changed]

    def assign(functions: list[tuple[Any, str, Any]]) -> None:
        for module, name, function in functions:
            setattr(module, name, function)

    assign(changed)
    return lambda: assign(kept)


def _separable(pool_any: Callable[..., Any], pool_plane: Callable[..., Any]) -> Callable[..., Any]:
    """Pool volumes plane by plane and then line by line: TensorFlow pools them in float32 only.

    The result is the same, since the maximum of a window and its mean (without padding) separate
    into axes.
    """
    import tensorflow as tf

    def pool(x: Any, pool_size: Any, strides: Any = None, *args: Any, **kwargs: Any) -> Any:
        if len(x.shape) != 5 or x.dtype != tf.float64:
            return pool_any(x, pool_size, strides, *args, **kwargs)
        padding = (args[0] if args else kwargs.get("padding", "valid")).upper()
        kernel, step = (
            (value,) * 3 if isinstance(value, int) else tuple(value)
            for value in (pool_size, strides or pool_size)
        )
        _, d, h, w, c = x.shape
        x = pool_plane(tf.reshape(x, (-1, h, w, c)), kernel[1:], step[1:], padding)
        h, w = x.shape[1:3]
        x = tf.reshape(x, (-1, d, h * w, c))
        x = pool_plane(x, (kernel[0], 1), (step[0], 1), padding)
        return tf.reshape(x, (-1, x.shape[1], h, w, c))

    return pool
