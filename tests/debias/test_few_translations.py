"""What a language is shifted by where only some of its texts have a translation."""

import numpy as np

from hybrid_jax.debias.fit import fit


def test_half_of_the_texts_with_a_translation_are_enough_to_shift_by():
    vectors = np.array([[0, 0, 1], [0, 0.5, 1], [5, 5, 5]], np.float64)
    found = fit("shift", vectors, ["en", "de", "de"], parallel=["a", "a", "other"])
    assert found.facts.pairs == {"de": 1}
    np.testing.assert_allclose(found.offsets, [[0, 0.5, 0], [0, 0, 0]], rtol=0, atol=1e-12)
