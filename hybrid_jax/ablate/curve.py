"""The languages curve: arms whose set of training languages grows."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hybrid_jax.ablate.arms import Arm, ArmError, crossed_name
from hybrid_jax.ablate.typology import in_order
from hybrid_jax.data.languages import language_tag

DATASETS = "data.datasets"
AXIS = "languages"
ONE_LANGUAGE = {"monolingual", "same_language"}


def curve_arms(sizes: Sequence[int], order: str, datasets: Sequence[Mapping[str, Any]]) -> list[Arm]:
    """An arm for each size n, which trains on the first n languages of the order.

    `order` is "diverse" or "similar" (see `typology.in_order`), of the languages that the base config's `datasets`
    name; or a file with a language a line. A dataset keeps those of its languages that are among the n; it is left out
    if these are fewer than two and it is not for pairs in one language alone.

    Raises ArmError in one line for sizes or an order that cannot be.
    """
    ordered = _ordered(order, datasets)
    if list(sizes) != sorted(set(sizes)) or sizes[0] < 2 or sizes[-1] > len(ordered):
        shown = ",".join(map(str, sizes))
        raise ArmError(
            f"--languages-curve {shown}: give growing numbers from 2 to {len(ordered)}, the languages of the order "
            f"({', '.join(ordered)})"
        )
    arms = [
        Arm(name=f"{AXIS}={size}", overrides={DATASETS: _restricted(datasets, ordered[:size])}, axis={AXIS: size})
        for size in sizes
    ]
    for size, arm in zip(sizes, arms, strict=True):
        lost = [language for language in ordered[:size] if language not in (trained_languages(arm) or [])]
        if lost:
            raise ArmError(
                f"--languages-curve {size}: no dataset has {', '.join(lost)} with another of its {size} languages "
                f"({', '.join(ordered[:size])}): leave this size out, or give another order, --order FILE"
            )
    return arms


def crossed(curve: Iterable[Arm], others: Sequence[Arm]) -> list[Arm]:
    """Each size of the curve with each of the other arms; the curve alone if there are none."""
    if not others:
        return list(curve)
    return [
        Arm(
            name=crossed_name(arm.name, size.name),
            overrides=arm.overrides | size.overrides,
            axis=arm.axis | size.axis,
            group=arm.group | size.axis,
            base=arm.base or arm.name,
        )
        for size in curve
        for arm in others
    ]


def trained_languages(arm: Arm) -> list[str] | None:
    """The languages of an arm of a curve, None of another arm."""
    if AXIS not in arm.axis:
        return None
    named = [language for dataset in arm.overrides[DATASETS] for language in dataset["languages"]]
    return list(dict.fromkeys(named))


def _ordered(order: str, datasets: Sequence[Mapping[str, Any]]) -> list[str]:
    if order in ("diverse", "similar"):
        unnamed = [dataset["name"] for dataset in datasets if dataset["languages"] is None]
        if unnamed:
            raise ArmError(
                f"--order {order}: dataset {unnamed[0]!r} does not name its languages: list them in its languages, or "
                f"give a file with a language a line, --order FILE"
            )
        languages = list(dict.fromkeys(language for dataset in datasets for language in dataset["languages"]))
        if not languages:
            raise ArmError("--languages-curve: the base config has no datasets: name some in data.datasets")
        return in_order(languages, diverse=order == "diverse")
    try:
        lines = [language_tag(line) for line in Path(order).read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArmError(f"--order {order}: {reason}: give diverse, similar, or a file with a language a line") from None
    if len(set(lines)) < len(lines) or not lines:
        raise ArmError(f"--order {order}: give each language once, one a line")
    return lines


def _restricted(datasets: Sequence[Mapping[str, Any]], languages: Sequence[str]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for dataset in datasets:
        own = dataset["languages"]
        common = [language for language in languages if own is None or language in own]
        alone = dataset["kinds"] is not None and set(dataset["kinds"]) <= ONE_LANGUAGE
        if len(common) >= 2 or (common and alone):
            kept.append({**dataset, "languages": common})
    return kept
