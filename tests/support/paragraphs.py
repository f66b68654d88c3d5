"""Tables of questions that are there once or twice: on one paragraph, the second of two says nothing."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hybrid_jax.eval.measures.per_query import Table

LANGUAGES = ("de", "en", "th", "zh")


def table(seed: int, questions: int = 30) -> Table:
    """Questions in four languages, the answers of each in all of them."""
    rng = np.random.default_rng(seed)
    languages = np.repeat(LANGUAGES, questions)
    values = rng.uniform(0.1, 0.9, (len(languages), len(LANGUAGES)))
    own = languages[:, None] == np.array(LANGUAGES)
    return Table(
        data_sha256={},
        ids=tuple(map(str, range(questions))) * len(LANGUAGES),
        languages=tuple(languages.tolist()),
        candidate_languages=LANGUAGES,
        monolingual={"map": values[own]},
        cross_lingual={"map": np.where(own, np.nan, values)},
        multilingual={"map": values.mean(axis=1), "rank_distance": 100 * rng.uniform(1, 2, len(languages))},
    )


def twice(once: Table, paragraphs: tuple[str, ...]) -> Table:
    """Each question twice. The name of the second sorts right after the first's, so that the same is drawn."""

    def both(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.concatenate([array, array]) for name, array in values.items()}

    return replace(
        once,
        ids=once.ids + tuple(f"{name}'" for name in once.ids),
        languages=once.languages * 2,
        paragraphs=paragraphs * 2,
        monolingual=both(once.monolingual),
        cross_lingual=both(once.cross_lingual),
        multilingual=both(once.multilingual),
    )
