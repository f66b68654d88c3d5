"""Does a saved folder give the embeddings of the model that was saved? Measured on texts chosen to be awkward.

Knows: two encoders and how far apart their vectors may be. Does not know: files, formats.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from hybrid_jax.debias.methods import Debiaser
from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.export.settings import ExportError, Precision

BOUNDS: dict[Precision, float] = {"float32": 1e-6, "float16": 1e-4, "bfloat16": 1e-2}
"""The largest cosine distance that is let through. Rounding every weight to 11 (float16) or 8 (bfloat16) bits moves the
vectors of a healthy model by a hundredth of this; float32 moves nothing."""

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
"""Several scripts, no text at all, single characters, what normalisers and special tokens trip over, long texts."""


def check_same(saved: TextEncoder, found: TextEncoder, dtype: Precision, debias: Debiaser | None = None) -> float:
    """The largest cosine distance between what two encoders with one tower each make of `TEXTS`, the saved one's
    vectors after `debias`, a linear one.

    Raises ExportError when it is above the bound of `dtype`, or the two treat texts by different rules.
    """
    if saved.rules != found.rules:
        raise ExportError(f"what was written reads back as {found.rules}, not {saved.rules}: please report this")
    # Queries and passages share the tower and the limit: what their prompts make of a text is all that differs.
    texts = [p + text for p in dict.fromkeys([saved.rules.query_prompt, saved.rules.passage_prompt]) for text in TEXTS]
    one, other = (_bare(encoder).encode_passages(texts, progress=False) for encoder in (saved, found))
    one = one if debias is None else debias.passages(one)
    # Half the squared distance of unit vectors: 1 - cosine, without its rounding, and 0 for two zero vectors.
    distances = ((one.astype(np.float64) - other) ** 2).sum(axis=1) / 2
    worst = int(np.argmax(distances))  # a NaN counts as the largest
    if not distances[worst] <= BOUNDS[dtype]:
        raise ExportError(
            f"the embedding of {texts[worst][:40]!r}, written as {dtype}, reads back at a cosine distance of "
            f"{distances[worst]:.2g}, and at most {BOUNDS[dtype]:g} is allowed: "
            + ("please report this" if dtype == "float32" else "use --dtype float32")
        )
    return float(distances[worst])


def _bare(encoder: TextEncoder) -> TextEncoder:
    """Without prompts, and with products in float32: bfloat16's rounding would hide small differences, or add some."""
    precise: dict[str, Any] = {"dtype": "float32"}
    model = encoder.model.model_copy(update={"encoder": encoder.model.encoder.model_copy(update=precise)})
    return replace(encoder, model=model, rules=replace(encoder.rules, query_prompt="", passage_prompt=""))
