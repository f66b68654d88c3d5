"""Operations equal their formulas, values and gradients, in their forms for a CPU and for other backends."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from support.formulas import DTYPES, assert_close, normal, values_and_gradients

from hybrid_jax.model import kernels
from hybrid_jax.model.activations import ACTIVATIONS
from hybrid_jax.model.attention import attention


@pytest.fixture(params=["for a CPU", "for other backends"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The form of the operations in a test."""
    monkeypatch.setattr(kernels, "on_cpu", lambda: request.param == "for a CPU")
    return request.param


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("form")
def test_the_product_of_a_linear_layer_equals_the_formula(dtype: str):
    inputs, kernel = normal(0, 3, 5, 16, dtype=dtype), normal(1, 16, 24, dtype=dtype)
    dimensions = (((2,), (0,)), ((), ()))
    ours = values_and_gradients(lambda x, w: kernels.dot_general(x, w, dimensions), inputs, kernel)
    exact = values_and_gradients(lambda x, w: x @ w, inputs.astype(jnp.float32), kernel.astype(jnp.float32))
    assert_close(ours, exact, DTYPES[dtype])


def test_products_of_float32_are_of_float32_on_a_gpu_or_tpu_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernels, "on_cpu", lambda: False)

    def output(query, kernel):
        projected = kernels.dot_general(query, kernel, (((3,), (0,)), ((), ())))
        return attention(projected, query, query, jnp.ones((2, 24), int), None, None, 1.0, False).sum()

    shown = str(jax.make_jaxpr(jax.grad(output, argnums=(0, 1)))(normal(0, 2, 3, 24, 8), normal(1, 8, 8)))
    products = shown.count(" dot_general[")
    assert products >= 6
    assert shown.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == products


def test_a_bfloat16_layer_has_no_product_of_float32_on_a_cpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernels, "on_cpu", lambda: True)
    inputs, kernel = normal(0, 64, 32, dtype="bfloat16"), normal(1, 32, 48, dtype="bfloat16")

    def loss(x, w):
        return jnp.sum(kernels.dot_general(x, w, (((1,), (0,)), ((), ()))).astype(jnp.float32) ** 2)

    lowered = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(inputs, kernel).as_text()
    products = [line for line in lowered.splitlines() if "stablehlo.dot_general" in line]
    assert len(products) == 3
    assert all(line.count("bf16>") == 2 and line.rstrip().endswith("f32>") for line in products)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("form")
def test_layer_norm_equals_the_formula(dtype: str, with_bias: bool):
    values = 3 + 2 * normal(0, 5, 7, 48, dtype=dtype)
    parameters = (normal(1, 48), normal(2, 48)) if with_bias else (normal(1, 48),)

    def plain(x, scale, bias=0.0):
        centred = x - x.mean(-1, keepdims=True)
        return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + bias

    ours = values_and_gradients(
        lambda x, scale, bias=None: kernels.layer_norm(x, scale, bias, 1e-5), values, *parameters
    )
    assert_close(ours, values_and_gradients(plain, values.astype(jnp.float32), *parameters), DTYPES[dtype])


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("form")
def test_an_activation_equals_its_function(dtype: str, name):
    values = 2 * normal(0, 9, 31, dtype=dtype)
    ours = values_and_gradients(lambda x: kernels.activate(ACTIVATIONS[name], x), values)
    assert_close(ours, values_and_gradients(ACTIVATIONS[name], values.astype(jnp.float32)), DTYPES[dtype])


def test_the_backward_pass_of_a_layer_is_given_one_array_for_an_activation_and_one_for_layer_norm(monkeypatch):
    monkeypatch.setattr(kernels, "on_cpu", lambda: True)
    values, scale = normal(0, 6, 40, dtype="bfloat16"), jnp.ones(40)
    for function in (
        lambda x: kernels.activate(ACTIVATIONS["gelu"], x),
        lambda x: kernels.layer_norm(x, scale, scale, 1e-5),
    ):
        _, backward = jax.vjp(function, values)
        stored = [array for array in jax.tree.leaves(backward) if array.size == values.size]
        assert [array.dtype for array in stored] == [jnp.bfloat16]


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        (None, "bfloat16"),  # a TPU's
        ("7.5", "float32"),
        ("8.0", "bfloat16"),
        ("12.0", "bfloat16"),
        ("gfx906", "float32"),
        ("gfx90a:sramecc+:xnack-", "bfloat16"),
        ("gfx942", "bfloat16"),
        ("gfx1030", "float32"),
        ("gfx1100", "bfloat16"),
        ("a name of tomorrow", "float32"),
    ],
)
def test_the_faster_dtype_is_known_of_every_kind_of_device(
    capability: str | None, dtype: str, monkeypatch: pytest.MonkeyPatch
):
    named = {} if capability is None else {"compute_capability": capability}
    device = SimpleNamespace(platform="tpu" if capability is None else "gpu", **named)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert kernels.faster_dtype() == dtype
