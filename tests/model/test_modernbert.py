"""ModernBERT against the same thing in plain numpy, and its promises: packing, windows, distances, dropout."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from pydantic import ValidationError
from support.noise import assert_dropout_is_the_same_packed, noise_of

from hybrid_jax.model.modernbert.encoder import ModernBert, ModernBertConfig, make_view, rotate, rotation

TINY = ModernBertConfig(
    vocab_size=23,
    hidden_size=16,
    num_layers=3,
    num_heads=2,
    intermediate_size=12,
    max_length=24,
    global_layers=2,
    local_attention=4,
)
TOKENS = np.array([[3, 5, 7, 9, 4, 8, 6, 0], [11, 2, 0, 0, 0, 0, 0, 0]], np.int32)
SEGMENTS = (TOKENS > 0).astype(np.int32)


@jax.jit
def run(model: ModernBert, tokens, segments, noise=None):
    return model(tokens, segments, noise)


def encode(model: ModernBert, tokens, segments, key=None):
    return run(model, tokens, segments, None if key is None else noise_of(key, segments))


def configured(**changes) -> ModernBertConfig:
    return ModernBertConfig(**{**TINY.model_dump(), **changes})


def build(**changes) -> ModernBert:
    """TINY with these changes and large random parameters: fresh ones are so small that they would hide a mistake."""
    code, shapes = nnx.split(nnx.eval_shape(lambda: ModernBert(configured(**changes), nnx.Rngs(0))))
    random = np.random.default_rng(1)
    drawn = jax.tree.map(lambda p: random.normal(0.0, 0.3, p.shape).astype(p.dtype), nnx.to_pure_dict(shapes))
    around_one = jax.tree.map_with_path(lambda path, p: p + 1 if path[-1].key == "scale" else p, drawn)
    return nnx.merge(code, around_one)


def by_numpy(parameters: dict, config: ModernBertConfig, tokens: list[int]) -> np.ndarray:
    """ModernBERT for one text without padding, written from the papers, position by position."""

    def norm(x, p):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + config.norm_eps) * p["scale"] + p.get("bias", 0)

    def linear(x, p):
        return x @ p["kernel"] + p.get("bias", 0)

    def turned(vector, place, theta):
        half = len(vector) // 2  # a pair of numbers is a complex one, turned by a product
        pairs = vector[:half] + 1j * vector[half:]
        pairs = pairs * np.exp(1j * place * theta ** (-np.arange(half) / half))
        return np.concatenate([pairs.real, pairs.imag])

    gelu = np.vectorize(lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2)
    size, reach = config.hidden_size // config.num_heads, config.local_attention // 2
    x = norm(parameters["embeddings"]["word"]["embedding"][tokens], parameters["embeddings"]["norm"])
    for number, kind in enumerate(config.kinds):
        layer, whole = parameters["layers"][number], kind == "global"
        theta = config.global_rope_theta if whole else config.local_rope_theta
        qkv = linear(norm(x, layer["attn_norm"]) if number else x, layer["attention"]["qkv"])
        query, key, value = qkv.reshape(len(tokens), 3, config.num_heads, size).swapaxes(0, 1)
        attended = np.zeros((len(tokens), config.num_heads, size))
        for head in range(config.num_heads):
            for i in range(len(tokens)):
                seen = [j for j in range(len(tokens)) if whole or abs(i - j) <= reach]
                own = turned(query[i, head], i, theta)
                weights = np.exp([own @ turned(key[j, head], j, theta) / math.sqrt(size) for j in seen])
                attended[i, head] = weights / weights.sum() @ value[seen, head]
        x = x + linear(attended.reshape(len(tokens), -1), layer["attention"]["output"])
        values, gates = np.split(linear(norm(x, layer["mlp_norm"]), layer["mlp"]["input"]), 2, axis=-1)
        x = x + linear(gelu(values) * gates, layer["mlp"]["output"])
    return norm(x, parameters["final_norm"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"global_layers": (1,), "norm_bias": True, "attention_bias": True, "mlp_bias": True, "local_attention": 5},
    ],
    ids=["modernbert", "biases"],
)
def test_equals_modernbert_written_in_numpy(changes: dict):
    model = build(**changes)
    parameters = jax.tree.map(lambda p: np.asarray(p, np.float64), nnx.to_pure_dict(nnx.state(model)))
    hidden = encode(model, TOKENS, SEGMENTS)
    for row, length in enumerate(SEGMENTS.sum(axis=1)):
        expected = by_numpy(parameters, model.config, list(TOKENS[row, :length]))
        np.testing.assert_allclose(hidden[row, :length], expected, atol=2e-5)


@pytest.mark.parametrize("window", [1, 4, 5])
def test_a_local_layer_sees_its_window_to_the_last_token_and_no_further(window: int):
    model = build(num_layers=1, global_layers=(), local_attention=window)
    tokens, segments = np.full((1, 15), 5, np.int32), np.ones((1, 15), np.int32)
    changed = tokens.copy()
    changed[0, 7] = 6
    differs = np.any(np.asarray(encode(model, tokens, segments) != encode(model, changed, segments)), axis=-1)[0]
    np.testing.assert_array_equal(differs, np.abs(np.arange(15) - 7) <= window // 2)


def test_a_global_layer_sees_the_whole_text_and_nothing_else():
    model = build(num_layers=1, global_layers=(0,))
    tokens, segments = np.full((1, 15), 5, np.int32), np.array([[1] * 10 + [2] * 5], np.int32)
    changed = tokens.copy()
    changed[0, 9] = 6
    differs = np.any(np.asarray(encode(model, tokens, segments) != encode(model, changed, segments)), axis=-1)[0]
    np.testing.assert_array_equal(differs, segments[0] == 1)


@pytest.mark.parametrize("global_layers", [2, ()], ids=["both", "local"])
def test_a_text_is_the_same_wherever_it_stands(global_layers: int | tuple[int, ...]):
    model = build(global_layers=global_layers)
    alone = encode(model, TOKENS, SEGMENTS)
    packed = encode(
        model,
        np.array([[11, 2, 3, 5, 7, 9, 4, 8, 6, 11, 2, 0, 0]], np.int32),
        np.array([[1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 0, 0]], np.int32),
    )
    np.testing.assert_allclose(packed[0, :2], alone[1, :2], atol=1e-5)
    np.testing.assert_allclose(packed[0, 2:9], alone[0, :7], atol=1e-5)
    np.testing.assert_allclose(packed[0, 9:11], alone[1, :2], atol=1e-5)


def test_padding_has_no_influence_and_no_nan():
    model = build()
    plain = np.asarray(encode(model, TOKENS, SEGMENTS))
    other = np.asarray(encode(model, np.where(SEGMENTS, TOKENS, 13).astype(np.int32), SEGMENTS))
    np.testing.assert_array_equal(plain[SEGMENTS > 0], other[SEGMENTS > 0])
    assert np.isfinite(encode(model, TOKENS, np.zeros_like(SEGMENTS))).all()
    # Row 0 moves to the left end of a longer row, row 1 to the right end.
    longer = [np.stack([np.pad(one, (0, 9)), np.pad(two[:2], (15, 0))]) for one, two in (TOKENS, SEGMENTS)]
    shown = np.asarray(encode(model, *longer))
    np.testing.assert_allclose(shown[longer[1] > 0], plain[SEGMENTS > 0], atol=1e-5)


@jax.jit
def products(queries, keys, places):
    cosine, sine = rotation(places, queries.shape[-1], 10_000.0)
    return rotate(queries, cosine, sine) @ rotate(keys, cosine, sine).swapaxes(2, 3)


def test_products_of_rotated_vectors_depend_on_distance_alone():
    random = np.random.default_rng(2)
    queries, keys = random.normal(size=(2, 1, 2, 6, 8)).astype(np.float32)
    places = np.array([[0, 1, 2, 5, 9, 30]], np.int32)
    near = products(queries, keys, places)
    # An angle of 1,000 radians is rounded to 2^-14 in float32, and products of 8 normal numbers are of size 10.
    np.testing.assert_allclose(products(queries, keys, places + 1000), near, atol=10 * 2**-13)
    np.testing.assert_allclose(np.diagonal(near[0, 0]), (queries * keys).sum(-1)[0, 0], atol=1e-5)
    assert np.abs(products(queries, keys, 2 * places) - near).max() > 0.1


def test_fresh_layers_begin_small_and_those_that_add_to_the_sum_smaller_still():
    config = configured(num_layers=2, hidden_size=64, intermediate_size=64)
    layers = jax.jit(lambda: nnx.to_pure_dict(nnx.state(ModernBert(config, nnx.Rngs(0)))))()["layers"]
    assert ["attn_norm" in layers[number] for number in range(2)] == [False, True]
    # A normal distribution cut at two deviations keeps 0.88 of its deviation; at least 4,096 values: within 1.1 %.
    for part, name, expected in [
        ("attention", "qkv", 0.0176),
        ("attention", "output", 0.0088),
        ("mlp", "input", 0.0176),
    ]:
        assert np.std(layers[1][part][name]["kernel"]) == pytest.approx(expected, rel=0.05)
    assert np.std(layers[1]["mlp"]["output"]["kernel"]) == pytest.approx(0.0088, rel=0.05)
    assert np.abs(layers[1]["mlp"]["output"]["kernel"]).max() <= 0.02


def test_remat_changes_neither_values_nor_gradients():
    results = []
    for remat in (False, True):
        code, state = nnx.split(build(remat=remat, num_layers=1, mlp_dropout=0.2))

        def loss(state, key, code=code):
            return jnp.sum(
                nnx.merge(code, state)(jnp.asarray(TOKENS), jnp.asarray(SEGMENTS), noise_of(key, SEGMENTS))[..., 0] ** 2
            )

        results.append(jax.jit(jax.value_and_grad(loss))(nnx.to_pure_dict(state), jax.random.key(0)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *results)


def test_bfloat16_computes_roughly_the_same_with_float32_parameters():
    half = build(dtype="bfloat16")
    assert {p.dtype for p in jax.tree.leaves(nnx.state(half))} == {jnp.dtype("float32")}
    values = encode(half, TOKENS, SEGMENTS)
    assert values.dtype == jnp.bfloat16
    # bfloat16 keeps 8 bits: steps of 2^-7 at the size of LayerNorm's output (about 2), over a few layers.
    np.testing.assert_allclose(values.astype(jnp.float32), encode(build(), TOKENS, SEGMENTS), atol=0.15)


def test_dropout_takes_the_same_from_a_text_wherever_it_stands():
    model = build(num_layers=2, embedding_dropout=0.3, attention_dropout=0.3, mlp_dropout=0.3)
    assert_dropout_is_the_same_packed(partial(run, model), TOKENS, SEGMENTS)


@pytest.mark.parametrize("rate", ["embedding_dropout", "attention_dropout", "mlp_dropout"])
def test_dropout_is_a_function_of_key_and_place(rate: str):
    model, key = build(num_layers=1, **{rate: 0.3}), jax.random.key(3)
    first = encode(model, TOKENS, SEGMENTS, key)
    np.testing.assert_array_equal(first, encode(model, TOKENS, SEGMENTS, key))
    assert not np.allclose(first, encode(model, TOKENS, SEGMENTS, jax.random.fold_in(key, 1)))
    np.testing.assert_array_equal(encode(model, TOKENS, SEGMENTS), encode(build(num_layers=1), TOKENS, SEGMENTS, key))


@jax.jit
def parts(model: ModernBert, tokens, segments, noise):
    """What embeddings, attention and feed-forward of the first layer give, each fed with the embeddings."""
    embedded = model.embeddings(tokens, None)
    attended = model.layers[0].attention(embedded, make_view("global", segments, model.config), noise)
    return model.embeddings(tokens, noise), attended, model.layers[0].mlp(embedded, noise)


def test_dropout_falls_where_hugging_face_lets_it_fall():
    model = build(num_layers=1, num_heads=1, embedding_dropout=0.5, attention_dropout=0.5, mlp_dropout=0.5)
    # Texts of one token: each has one attention weight, 1.
    tokens, segments = np.full((1, 24), 5, np.int32), np.arange(1, 25, dtype=np.int32)[None]
    plain, dropped = (parts(model, tokens, segments, noise) for noise in (None, noise_of(jax.random.key(0), segments)))
    embedded, attended, fed = (np.asarray(after / before) for before, after in zip(plain, dropped, strict=True))
    assert set(np.unique(embedded.round(5))) == {0, 2}
    assert set(np.unique(attended.round(5))) == {0, 4}  # twice: the weight, and what is summed by it
    assert 0 < (attended == 0).all(axis=-1).sum() < 24  # tokens whose weight was dropped
    assert (fed != 0).all()  # dropped before the last product, not after it
    assert not np.allclose(fed, 1)


def test_a_token_outside_the_vocabulary_is_loud():
    assert np.isnan(encode(build(), np.full_like(TOKENS, 23), SEGMENTS)).all()


def test_kinds_of_layers_follow_the_step_or_the_numbers():
    every_third = ModernBertConfig(num_layers=5).kinds
    assert every_third == ("global", "local", "local", "global", "local")
    assert ModernBertConfig(num_layers=3, global_layers=1).kinds == ("global",) * 3
    assert ModernBertConfig(num_layers=3, global_layers=()).kinds == ("local",) * 3
    assert ModernBertConfig(num_layers=3, global_layers=(1, 2)).kinds == ("local", "global", "global")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "num_heads 3 does not divide hidden_size 16"),
        ({"num_heads": 16}, "num_heads 16 divides hidden_size 16 into odd parts of 1, but rotary positions turn pairs"),
        ({"global_layers": (1, 3)}, r"global_layers \(1, 3\) must be ascending numbers from 0 to 2"),
        ({"global_layers": (2, 1)}, r"global_layers \(2, 1\) must be ascending numbers from 0 to 2"),
        ({"global_layers": 0}, "greater than or equal to 1"),
    ],
    ids=["width", "odd", "beyond", "order", "never"],
)
def test_impossible_configs_are_refused(changes: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        configured(**changes)
