"""Every name of the command line makes what it says, or says what it lacks."""

from pathlib import Path

import pytest

from hybrid_jax.data.records import DataError
from hybrid_jax.eval import tasks


def no_data() -> Path:
    raise AssertionError("this task reads no file")


@pytest.mark.parametrize("name", sorted(tasks.TASKS.keys() - {"demo"}))
def test_a_task_without_its_files_says_where_to_get_them(name: str, tmp_path: Path):
    with pytest.raises(DataError, match=r"no file .*: (get|write) .*https://") as caught:
        tasks.maker(name)(lambda: tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_given_with_its_kind(tmp_path: Path):
    for kind in ("beir", "pooled"):
        with pytest.raises(DataError, match=f"{tmp_path}: no qrels in it"):
            tasks.maker(f"{kind}:{tmp_path}")(no_data)


def test_miracl_is_named_by_any_code_of_its_language():
    for code in ("deu", "de-DE", "deu_Latn"):
        assert tasks.maker(f"miracl_hn_{code}") is tasks.maker("miracl_hn_de")


@pytest.mark.parametrize("name", ["nope", "", "beir", "beir:", "nope:folder", "miracl_xx"])
def test_an_unknown_name_is_answered_with_the_known_ones(name: str):
    with pytest.raises(DataError, match=f"no task '{name}': choose from demo, .*, miracl_LANG, .*, beir:FOLDER"):
        tasks.maker(name)
