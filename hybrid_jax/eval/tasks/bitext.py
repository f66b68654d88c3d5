"""FLORES-200, NTREX-128 and Tatoeba as bitext mining, from their official layouts, with their line counts checked."""

from collections.abc import Mapping
from pathlib import Path

from hybrid_jax.data.records import DataError
from hybrid_jax.eval.tasks.base import BitextTask
from hybrid_jax.eval.tasks.files import find, read_lines

FLORES_FIX = (
    "get https://dl.fbaipublicfiles.com/nllb/flores200_dataset.tar.gz (described at "
    "https://github.com/facebookresearch/flores) and unpack it in DATA_DIR"
)
NTREX_FIX = "get the files with `git clone https://github.com/MicrosoftTranslator/NTREX` in DATA_DIR"
TATOEBA_FIX = "get the files with `git clone https://github.com/facebookresearch/LASER` in DATA_DIR"
FLORES_LINES = {"dev": 997, "devtest": 1012}
NTREX_LINES = 1997
TATOEBA_MOST = 1000  # some languages have fewer


def flores(data_dir: Path, split: str = "devtest") -> BitextTask:
    """English (eng_Latn) against every other language in the folder: 203 pairs in the official one."""
    folder = find(data_dir, (f"flores200_dataset/{split}", f"flores200/{split}"), FLORES_FIX)
    files = {path.name.removesuffix(f".{split}"): path for path in sorted(folder.glob(f"*.{split}"))}
    about = f"FLORES-200 {split}, English against each other language"
    return _centred(f"flores_{split}", "eng_Latn", files, FLORES_LINES[split], FLORES_FIX, about)


def ntrex(data_dir: Path) -> BitextTask:
    """English news against its 128 translations: newstest2019-src.eng.txt and newstest2019-ref.LANG.txt."""
    source = find(
        data_dir, tuple(f"{place}newstest2019-src.eng.txt" for place in ("NTREX/NTREX-128/", "NTREX-128/")), NTREX_FIX
    )
    files = {path.name.split(".")[1]: path for path in sorted(source.parent.glob("newstest2019-ref.*.txt"))}
    return _centred(
        "ntrex",
        "eng",
        {**files, "eng": source},
        NTREX_LINES,
        NTREX_FIX,
        "NTREX-128, English against each other language",
    )


def tatoeba(data_dir: Path) -> BitextTask:
    """112 languages with English, up to 1,000 sentences each: LASER's tatoeba.LANG-eng.LANG and .eng."""
    folder = find(data_dir, ("LASER/data/tatoeba/v1", "tatoeba/v1", "tatoeba"), TATOEBA_FIX)
    pairs: dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {}
    sources: dict[str, str] = {}
    for english in sorted(folder.glob("tatoeba.*-eng.eng")):
        language = english.name.removeprefix("tatoeba.").removesuffix("-eng.eng")
        foreign = find(folder, (f"tatoeba.{language}-eng.{language}",), TATOEBA_FIX)
        sentences, sources[foreign.name] = read_lines(foreign, TATOEBA_FIX)
        translations, sources[english.name] = read_lines(english, TATOEBA_FIX)
        if len(sentences) != len(translations) or not 0 < len(sentences) <= TATOEBA_MOST:
            raise DataError(
                f"{foreign}: {len(sentences)} lines for {len(translations)} in {english.name}; both have the same "
                f"number, at most {TATOEBA_MOST}: {TATOEBA_FIX}"
            )
        pairs[language, "eng"] = (sentences, translations)
    if not pairs:
        raise DataError(f"{folder}: no tatoeba.LANG-eng.eng in it; {TATOEBA_FIX}")
    return BitextTask("tatoeba", pairs, f"Tatoeba (LASER), {len(pairs)} languages with English", sources)


def _centred(name: str, centre: str, files: Mapping[str, Path], lines: int, fix: str, about: str) -> BitextTask:
    """The language `centre` paired with each other language of `files` ({language: path}), of `lines` lines each."""
    texts: dict[str, tuple[str, ...]] = {}
    sources: dict[str, str] = {}
    for language, path in files.items():
        texts[language], sources[path.name] = read_lines(path, fix)
        if len(texts[language]) != lines:
            raise DataError(
                f"{path}: {len(texts[language])} lines, but the official file has {lines} (line i translates line i); "
                f"{fix}"
            )
    if centre not in texts or len(texts) < 2:
        raise DataError(f"task {name}: found {', '.join(texts) or 'nothing'}, needs {centre} and another; {fix}")
    pairs = {(centre, language): (texts[centre], text) for language, text in texts.items() if language != centre}
    return BitextTask(name, pairs, about, sources, {pair: range(1, lines + 1) for pair in pairs})
