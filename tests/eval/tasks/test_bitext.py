"""The three official layouts of parallel sentences, with the official numbers of lines."""

from pathlib import Path

import pytest

from hybrid_jax.data.records import DataError
from hybrid_jax.eval.tasks.bitext import flores, ntrex, tatoeba


def write(path: Path, word: str, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{word} {n}\n" for n in range(count)), encoding="utf-8")


@pytest.mark.parametrize(("split", "count"), [("dev", 997), ("devtest", 1012)])
def test_flores_pairs_english_with_every_other_language(tmp_path: Path, split: str, count: int):
    folder = tmp_path / "flores200_dataset" / split
    for language in ("deu_Latn", "eng_Latn", "zho_Hans"):
        write(folder / f"{language}.{split}", language, count)
    task = flores(tmp_path, split)
    assert list(task.pairs) == [("eng_Latn", "deu_Latn"), ("eng_Latn", "zho_Hans")]
    english, german = task.pairs["eng_Latn", "deu_Latn"]
    assert (len(english), english[4], german[4]) == (count, "eng_Latn 4", "deu_Latn 4")
    assert len(task.sources) == 3
    assert [list(lines) for lines in task.lines.values()] == [list(range(1, count + 1))] * 2
    write(folder / f"zho_Hans.{split}", "zho_Hans", count - 1)
    with pytest.raises(DataError, match=rf"zho_Hans\.{split}: {count - 1} lines, but the official file has {count} "):
        flores(tmp_path, split)


def test_ntrex(tmp_path: Path):
    folder = tmp_path / "NTREX/NTREX-128"
    write(folder / "newstest2019-src.eng.txt", "eng", 1997)
    with pytest.raises(DataError, match="task ntrex: found eng, needs eng and another; get the files"):
        ntrex(tmp_path)
    write(folder / "newstest2019-ref.deu.txt", "deu", 1997)
    write(folder / "newstest2019-ref.eng-GB.txt", "GB", 1997)
    assert list(ntrex(tmp_path).pairs) == [("eng", "deu"), ("eng", "eng-GB")]


def test_tatoeba(tmp_path: Path):
    folder = tmp_path / "LASER/data/tatoeba/v1"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=r"no tatoeba\.LANG-eng\.eng in it"):
        tatoeba(tmp_path)
    write(folder / "tatoeba.swh-eng.swh", "swh", 390)
    write(folder / "tatoeba.swh-eng.eng", "eng", 390)
    task = tatoeba(tmp_path)
    assert list(task.pairs) == [("swh", "eng")]
    assert task.pairs["swh", "eng"][0][389] == "swh 389"
    assert task.lines == {}  # each pair has sentences of its own
    write(folder / "tatoeba.swh-eng.eng", "eng", 389)
    with pytest.raises(DataError, match=r"eng\.swh: 390 lines for 389 in tatoeba\.swh-eng\.eng"):
        tatoeba(tmp_path)
