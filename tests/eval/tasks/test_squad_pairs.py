"""XQuAD and MLQA paragraphs have the queries, pools and judgments that mteb publishes for its own copies."""

import json
from collections import Counter
from pathlib import Path

import pytest

from hybrid_jax.data.records import DataError
from hybrid_jax.eval.tasks import RetrievalTask
from hybrid_jax.eval.tasks.files import text_id
from hybrid_jax.eval.tasks.squad_pairs import MLQA_DEV, MLQA_LANGUAGES, MLQA_TEST, XQUAD_LANGUAGES, mlqa, xquad

# mteb 2.26, descriptive_stats/Retrieval: queries and their characters, characters of the 240 paragraphs.
XQUAD_IN_MTEB = {
    **{"ar": (1186, 63247, 164032), "de": (1181, 81540, 214576), "el": (1184, 81238, 214651)},
    **{"en": (1185, 72582, 188360), "es": (1184, 80794, 212113), "hi": (1183, 70607, 183586)},
    **{"ru": (1185, 76957, 204045), "th": (1180, 65022, 176822), "tr": (1184, 72078, 189192)},
    **{"vi": (1182, 72845, 192938), "zh": (1181, 21802, 60576)},
}
# The same for MLQA's dev pairs (question, context): paragraphs, their characters, queries, their characters.
MLQA_IN_MTEB = {
    **{"ar-zh": (161, 38439, 188, 8337), "de-zh": (164, 42166, 190, 10231), "en-zh": (443, 109267, 504, 25276)},
    **{"es-zh": (148, 36942, 161, 8510), "hi-zh": (163, 38884, 189, 9838), "vi-zh": (168, 45078, 184, 9078)},
    **{"zh-zh": (443, 109267, 504, 7759)},
}


def squad(rows: list[tuple[str, str, str]]) -> str:
    """(id, question, paragraph) in SQuAD's layout."""
    paragraphs = [{"context": text, "qas": [{"id": name, "question": asked}]} for name, asked, text in rows]
    return json.dumps({"data": [{"title": "never read", "paragraphs": paragraphs}]})


def relevant_texts(task: RetrievalTask) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """{(query language, query text): {(candidate language, candidate text)}}."""
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for i, j in task.relevance:
        query, candidate = task.queries[i], task.candidates[j]
        found.setdefault((query.language, query.text), set()).add((candidate.language, candidate.texts[0]))
    return found


@pytest.mark.real_data
def test_xquad_has_mtebs_queries_and_paragraphs(real_data: Path):
    task = xquad(real_data)
    for language, (count, query_characters, paragraph_characters) in XQUAD_IN_MTEB.items():
        texts = [query.text for query in task.queries if query.language == language]
        assert (len(texts), sum(map(len, texts))) == (count, query_characters)
        paragraphs = [row.texts[0] for row in task.candidates if row.language == language]
        assert (len(paragraphs), sum(map(len, paragraphs))) == (240, paragraph_characters)
    judged = Counter((task.queries[i].language, task.candidates[j].language) for i, j in task.relevance)
    assert {pair[0]: count for pair, count in judged.items() if pair[0] == pair[1]} == {
        language: numbers[0] for language, numbers in XQUAD_IN_MTEB.items()
    }


@pytest.mark.real_data
def test_mlqa_has_mtebs_queries_and_paragraphs(real_data: Path):
    tasks = {task.name: task for task in mlqa(real_data, "dev")}
    assert list(tasks) == [f"mlqa_dev_{language}" for language in MLQA_LANGUAGES]
    for pair, expected in MLQA_IN_MTEB.items():
        asked, context = pair.split("-")
        task = tasks[f"mlqa_dev_{asked}"]
        paragraphs = {row.texts[0] for row in task.candidates if row.language == context}
        queries = {task.queries[i].text: None for i, j in task.relevance if task.candidates[j].language == context}
        assert (len(paragraphs), sum(map(len, paragraphs)), len(queries), sum(map(len, queries))) == expected


def test_the_official_pair_counts_sum_to_the_published_totals():
    for counts, total in ((MLQA_DEV, 15_747), (MLQA_TEST, 158_083)):
        assert len(counts) == 28
        assert sum(count * (1 if pair[:2] == pair[3:] else 2) for pair, count in counts.items()) == total


def write_xquad(folder: Path, changed: dict[str, list] | None = None) -> Path:
    """Parallel files of 240 paragraphs and 1190 questions, question 7 asked again as number 9 of paragraph 9."""
    (folder / "xquad").mkdir()
    for language in XQUAD_LANGUAGES:
        numbers = [n if n != 9 else 7 for n in range(1190)]
        rows = [(f"id{n}", f" {language} {asked}?\n", f"{language} {n % 240} ") for n, asked in enumerate(numbers)]
        rows = (changed or {}).get(language, rows)
        (folder / f"xquad/xquad.{language}.json").write_text(squad(rows), encoding="utf-8")
    return folder


def test_equal_questions_are_one_query_and_texts_are_stripped(tmp_path: Path):
    task = xquad(write_xquad(tmp_path))
    assert len(task.candidates) == 12 * 240
    assert len(task.queries) == 12 * 1189
    relevant = relevant_texts(task)
    assert relevant["ro", "ro 8?"] == {(language, f"{language} 8") for language in XQUAD_LANGUAGES}
    assert relevant["ro", "ro 7?"] == {(language, f"{language} {n}") for language in XQUAD_LANGUAGES for n in (7, 9)}
    asked = {query.text: query for query in task.queries}
    assert asked["ro 7?"].id == "id9"  # the last one's, as in mteb
    for query, paragraph in (("ro 7?", "ro 9"), ("ro 247?", "ro 7"), ("de 8?", "de 8")):
        assert asked[query].paragraph == text_id(paragraph)


def test_xquad_files_of_another_size_or_with_other_ids_are_refused(tmp_path: Path):
    (tmp_path / "short").mkdir()
    with pytest.raises(DataError, match=r"xquad\.hi\.json: 1 questions and 1 paragraphs, .*1190 and 240; .*git clone"):
        xquad(write_xquad(tmp_path / "short", {"hi": [("id0", "?", "one")]}))
    (tmp_path / "other").mkdir()
    renamed = [(f"id{n or 5000}", f"{n}?", f"{n % 240}") for n in range(1190)]
    with pytest.raises(DataError, match=r"question 'id0' has no zh version; get the files"):
        xquad(write_xquad(tmp_path / "other", {"zh": renamed}))


def write_mlqa(folder: Path) -> Path:
    """All 49 dev files with the official numbers; the pair's first two questions have one text."""
    (folder / "MLQA_V1/dev").mkdir(parents=True)
    for asked in MLQA_LANGUAGES:
        for context in MLQA_LANGUAGES:
            count = MLQA_DEV["-".join(sorted((asked, context)))]
            rows = [(f"id{n}", f"{asked} {max(n, 1)}", f" {context} {n}") for n in range(count)]
            path = folder / f"MLQA_V1/dev/dev-context-{context}-question-{asked}.json"
            path.write_text(squad(rows), encoding="utf-8")
    return folder


def test_a_pair_of_mlqa_has_the_pool_of_its_own_file(tmp_path: Path):
    tasks = {task.name: task for task in mlqa(write_mlqa(tmp_path), "dev")}
    task = tasks["mlqa_dev_es"]
    assert {query.language for query in task.queries} == {"es"}
    pools = Counter(candidate.language for candidate in task.candidates)
    assert pools == {context: MLQA_DEV["-".join(sorted(("es", context)))] for context in MLQA_LANGUAGES}
    relevant = relevant_texts(task)
    assert relevant["es", "es 1"] == {(context, f" {context} {n}") for context in MLQA_LANGUAGES for n in (0, 1)}
    # Each belongs to the Spanish paragraph of its last id, whatever the other languages have.
    paragraphs = {query.text: query.paragraph for query in task.queries}
    assert paragraphs["es 1"] == text_id(" es 1")
    assert paragraphs["es 499"] == text_id(" es 499")
    # Spanish question 170 is in the files of five of the seven paragraph languages only.
    assert {context for context, _ in relevant["es", "es 170"]} == {"de", "en", "es", "hi", "vi"}


def test_mlqa_with_a_question_too_few_or_without_a_file_is_refused(tmp_path: Path):
    write_mlqa(tmp_path)
    path = tmp_path / "MLQA_V1/dev/dev-context-vi-question-zh.json"
    path.write_text(squad([("id0", "?", "p")]), encoding="utf-8")
    with pytest.raises(DataError, match=r"1 zh questions on vi paragraphs, but the official dev split has 184; get "):
        mlqa(tmp_path, "dev")
    path.unlink()
    with pytest.raises(DataError, match=r"no file .*dev-context-vi-question-zh\.json .*get MLQA_V1\.zip"):
        mlqa(tmp_path, "dev")
    with pytest.raises(DataError, match=r"no file .*MLQA_V1/test/test-context-en-question-en\.json"):
        mlqa(tmp_path, "test")
