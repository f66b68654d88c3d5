"""Checks that a saved folder gives the embeddings of the model that was saved, on texts chosen to be awkward."""

from dataclasses import replace
from typing import Any

import numpy as np

from hybrid_jax.debias.methods import Debiaser
from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.export.settings import ExportError, Precision

BOUNDS: dict[Precision, float] = {"float32": 1e-6, "float16": 1e-4, "bfloat16": 1e-2}
"""The largest cosine distance that passes, by the weights' precision. Rounding every weight to 11 (float16) or 8
(bfloat16) bits moves the vectors of a trained model by about a hundredth of this; float32 does not move them."""

_SENTENCES = (
    "Where does the river rise, and how long is it?",
    "Der Fluss entspringt im Süden; er ist 1.233 km lang, größtenteils schiffbar.",
    "El río nace en las montañas — ¿y dónde desemboca?",
    "Où se trouve la source du fleuve ? À l’est, près d’un glacier.",
    "Реку питают талые воды; её длина — 3 530 км.",
    "Ο ποταμός πηγάζει από τα βουνά και χύνεται στη θάλασσα.",
    "ينبع النهر من الجبال ويصب في البحر.",
    "הנהר זורם מן ההרים אל הים.",
    "नदी पहाड़ों से निकलती है और समुद्र में गिरती है।",
    "নদীটি পাহাড় থেকে উৎপন্ন হয়েছে।",
    "แม่น้ำไหลจากภูเขาลงสู่ทะเล",
    "这条河发源于高原,全长六千三百公里。",
    "川は山から海へ流れる。ナガサハ367キロメートル。",
    "강은 산에서 시작하여 바다로 흐른다.",
    "Nehir dağlardan doğar, İstanbul'a kadar uzanmaz; ığdır'da da değildir.",
    "Sông bắt nguồn từ dãy núi và đổ ra biển.",
    "Mto huu unaanzia milimani.",
    "მდინარე მთებიდან მოედინება.",
    "ወንዙ ከተራራ ይፈልቃል።",
    "THE RIVER RISES IN THE SOUTH",
)
_ODDITIES = (
    "",
    " ",
    "?",
    "a",
    "\n\t  spaces   and\u00a0others\u3000 \n",
    "e\u0301 and é, ﬁ and fi, Å and A\u030a",
    "🏞️👩🏽‍🔬 ↗ ∑ €",
    "<b>tags</b> & [MASK] </s> <unk>",
    "def f(x): return x ** 2  # https://example.org/?q=river&n=1",
    "1234567890 3.14159 12:30 2024-08-20 $5 50%",
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen",
    "x" * 300,
)
TEXTS = (
    *_SENTENCES,
    *_ODDITIES,
    " ".join(_SENTENCES[:2]),
    " ".join(_SENTENCES),
    " ".join([*_SENTENCES, *_ODDITIES] * 3),  # longer than most models read
)
"""Many scripts, empty texts, single characters, texts that normalisers and special tokens mishandle, long texts."""


def check_same(original: TextEncoder, read: TextEncoder, dtype: Precision, debias: Debiaser | None = None) -> float:
    """The largest cosine distance on `TEXTS` between the vectors of two encoders with one tower each: of the original,
    after the linear `debias` if there is one, and of the folder as it was read back.

    Raises ExportError if it exceeds the bound of `dtype`, or if the two treat texts by different rules.
    """
    if original.rules != read.rules:
        raise ExportError(f"what was written reads back as {read.rules}, not {original.rules}: please report this")
    # Queries and passages share the tower and the length limit, and differ in their prompts alone.
    prompts = dict.fromkeys([original.rules.query_prompt, original.rules.passage_prompt])
    texts = [prompt + text for prompt in prompts for text in TEXTS]
    expected, actual = (_bare(encoder).encode_passages(texts, progress=False) for encoder in (original, read))
    expected = expected if debias is None else debias.passages(expected)
    # Half the squared distance of unit vectors is 1 - cosine, with less rounding, and 0 for two zero vectors.
    distances = ((expected.astype(np.float64) - actual) ** 2).sum(axis=1) / 2
    worst = int(np.argmax(distances))  # a NaN counts as the largest
    if not distances[worst] <= BOUNDS[dtype]:
        raise ExportError(
            f"the embedding of {texts[worst][:40]!r}, written as {dtype}, reads back at a cosine distance of "
            f"{distances[worst]:.2g}, and at most {BOUNDS[dtype]:g} is allowed: "
            + ("please report this" if dtype == "float32" else "use --dtype float32")
        )
    return float(distances[worst])


def _bare(encoder: TextEncoder) -> TextEncoder:
    """The encoder without prompts, and with float32 products: bfloat16 would hide small differences, or add some."""
    precise: dict[str, Any] = {"dtype": "float32"}
    model = encoder.model.model_copy(update={"encoder": encoder.model.encoder.model_copy(update=precise)})
    return replace(encoder, model=model, rules=replace(encoder.rules, query_prompt="", passage_prompt=""))
