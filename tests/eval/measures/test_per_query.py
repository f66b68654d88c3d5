"""Per-query values: they are what the report's means are made of, and the file gives back what it was given."""

import io
import json
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest

from hybrid_jax.eval.full_ranking import evaluate
from hybrid_jax.eval.measures.catalogue import FULL_RANKING, RANK_DISTANCE, SETTINGS
from hybrid_jax.eval.measures.parts import MODES
from hybrid_jax.eval.measures.per_query import Table, collect, joined, read, write
from hybrid_jax.eval.measures.stats import macro_mean
from hybrid_jax.eval.tasks import RetrievalTask
from hybrid_jax.search.ranks import rank_relevant


def without(task: RetrievalTask, queries: set[tuple[str, str]]) -> RetrievalTask:
    """The task without the queries of these (language, id): questions then exist in some of the languages only."""
    kept = [row for row, query in enumerate(task.queries) if (query.language, query.id) not in queries]
    relevance = [(kept.index(query), answer) for query, answer in task.relevance.tolist() if query in kept]
    return replace(task, queries=tuple(task.queries[row] for row in kept), relevance=np.array(relevance))


def table_of(task: RetrievalTask, encoder) -> Table:
    """Encodes in the order that the runner does, so that an encoder that draws at random draws the same."""
    queries = encoder.encode_queries([row.text for row in task.queries])
    passages = encoder.encode_passages(task.texts(task.candidate_texts[0]))
    ids, languages = [row.id for row in task.candidates], [row.language for row in task.candidates]
    return collect(task, rank_relevant(queries, passages, task.relevance, languages, ids))


@pytest.fixture
def uneven(make_task) -> RetrievalTask:
    """Nine questions in three languages, some missing in one or two; one answer with a translation less."""
    task = without(make_task(("de", "en", "th"), 9), {("de", "0"), ("de", "1"), ("th", "1"), ("th", "5")})
    lost = next(row for row, (query, _) in enumerate(task.relevance) if task.queries[query].id == "7")
    return replace(task, relevance=np.delete(task.relevance, lost, axis=0))


def random_like(encoder):
    return type(encoder)(3)


def test_its_macro_means_are_the_runners(uneven, random_encoder):
    result = evaluate(random_like(random_encoder), uneven, "passage")
    table = table_of(uneven, random_like(random_encoder))
    assert len({scores.questions for row in result.pairs.values() for scores in row.values()}) > 2
    for name in FULL_RANKING:
        for setting in SETTINGS:
            expected = result.value(name, setting)
            assert macro_mean(table.by_question(setting, name)) == pytest.approx(expected, rel=0, abs=1e-12)
    distance = macro_mean(table.by_question("multilingual", RANK_DISTANCE.name))
    assert distance == pytest.approx(result["rank_distance"], rel=1e-12)


def test_its_columns_are_the_runners_languages_and_pairs(uneven, random_encoder):
    result = evaluate(random_like(random_encoder), uneven, "passage")
    table = table_of(uneven, random_like(random_encoder))
    pairs = [row[other] for language, row in result.pairs.items() for other in row if other != language]
    cells = table.by_question("cross_lingual", "map")
    assert cells.shape == (9, len(pairs))
    np.testing.assert_array_equal((~np.isnan(cells)).sum(axis=0), [scores.questions for scores in pairs])
    np.testing.assert_allclose(np.nanmean(cells, axis=0), [scores["map"] for scores in pairs], rtol=1e-12)


def test_a_row_is_a_question_in_all_its_languages(uneven, knows_the_record):
    table = table_of(uneven, knows_the_record(uneven, meaning=1, language=3))
    rows = table.by_question("multilingual", "recall@1")
    ids = sorted(set(table.ids))
    exists = {(query.id, query.language) for query in uneven.queries}
    requested = [[(name, language) in exists for language in ("de", "en", "th")] for name in ids]
    np.testing.assert_array_equal(~np.isnan(rows), requested)


def test_the_units_are_the_paragraphs_that_questions_were_paragraphs(uneven, random_encoder):
    """Questions 0 to 2 on one paragraph, in each language; 3 alone, and the others without any."""
    paragraphs = dict.fromkeys("012", "first") | {"3": "second"}
    queries = tuple(replace(query, paragraph=paragraphs.get(query.id, "")) for query in uneven.queries)
    table = table_of(replace(uneven, queries=queries), random_encoder)
    np.testing.assert_array_equal(table.units, [0, 0, 0, 1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(replace(table, paragraphs=()).units, np.arange(9))


def test_joined_tasks_keep_their_paragraphs(uneven, random_encoder):
    tables = {}
    for language in ("de", "en"):
        others = {(query.language, query.id) for query in uneven.queries if query.language != language}
        task = without(uneven, others)
        named = tuple(replace(query, paragraph=str(int(query.id) // 5)) for query in task.queries)
        tables[language] = table_of(replace(task, queries=named), random_encoder)
    both = joined(tables)
    assert both.ids[:2] == ("de:2", "de:3")
    # The languages have paragraphs of their own, though these are called alike.
    np.testing.assert_array_equal(both.units, [0, 0, 0, 1, 1, 1, 1] + [2] * 5 + [3] * 4)
    alone = joined({**tables, "de": replace(tables["de"], paragraphs=())})
    np.testing.assert_array_equal(alone.units, [*range(7)] + [7] * 5 + [8] * 4)


def test_a_rank_distance_needs_two_relevant_candidates(make_task, knows_the_record):
    task = make_task(("de", "en"), 3)
    alone = replace(task, relevance=task.relevance[~((task.relevance[:, 0] == 0) & (task.relevance[:, 1] > 0))])
    distance = table_of(alone, knows_the_record(task, meaning=1, language=0)).multilingual[RANK_DISTANCE.name]
    np.testing.assert_array_equal(np.isnan(distance), [True] + [False] * 5)


def assert_same(computed, reference) -> None:
    assert list(computed) == list(reference)
    for metric in computed:
        np.testing.assert_array_equal(computed[metric], reference[metric], strict=True)


def test_the_file_gives_back_what_it_was_given(tmp_path, uneven, random_encoder):
    written = tuple(replace(query, paragraph=f"on {query.id}") for query in uneven.queries)
    tables = {
        "xquad_r": table_of(replace(uneven, queries=written), random_encoder),
        "xquad_r:sentence": table_of(uneven, random_encoder),
    }
    path = tmp_path / "new" / "per_query.npz"
    write(path, tables)
    assert [actual.name for actual in path.parent.iterdir()] == [path.name]
    actual = read(path)
    assert list(actual) == list(tables)
    for key, table in tables.items():
        for field in fields(Table):
            computed, reference = getattr(table, field.name), getattr(actual[key], field.name)
            if field.name == "further":
                assert list(computed) == list(reference) == list(MODES)
                for mode in MODES:
                    assert_same(computed[mode], reference[mode])
            elif field.name in SETTINGS:
                assert_same(computed, reference)
            else:
                assert computed == reference
    # As the module's docstring tells those who read it without us.
    with np.load(path) as archive:
        elsewhere = archive["xquad_r:sentence/multilingual/map"]
    np.testing.assert_array_equal(elsewhere, tables["xquad_r:sentence"].multilingual["map"])


@pytest.fixture
def saved(tmp_path, make_task, random_encoder):
    path = tmp_path / "per_query.npz"
    write(path, {"parallel": table_of(make_task(("de", "en"), 4), random_encoder)})
    return path


def rewrite(path, **members: bytes) -> None:
    """Replaces members of the file."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert set(members) <= set(contents)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (contents | members).items():
            archive.writestr(name, content)


def as_npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_a_damaged_file_is_one_line(saved):
    whole = saved.read_bytes()
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 0xFF
    for content in (b"", b"{}", whole[: len(whole) // 2], bytes(middle)):
        saved.write_bytes(content)
        with pytest.raises(ValueError, match=r"per_query.npz: damaged .*evaluate the run again") as raised:
            read(saved)
        assert len(str(raised.value).splitlines()) == 1


def test_nothing_in_the_file_is_run(saved):
    rewrite(saved, **{"parallel/multilingual/map.npy": as_npy(np.array([{"a": 1}] * 8, dtype=object))})
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        read(saved)


def test_a_header_that_is_not_ours_is_refused(saved):
    with np.load(saved) as archive:
        header = json.loads(archive["header"].tobytes())

    def told(changed: dict) -> str:
        rewrite(saved, **{"header.npy": as_npy(np.frombuffer(json.dumps(changed).encode(), np.uint8))})
        with pytest.raises(ValueError, match="evaluate the run again") as raised:
            read(saved)
        return str(raised.value)

    assert "its header is not one of ours (schema_version: Input should be 2)" in told(header | {"schema_version": 1})
    assert "(author: Extra inputs are not permitted)" in told(header | {"author": "somebody"})
    task = header["tasks"]["parallel"]
    assert "8 query ids and 7 query languages" in told(
        {**header, "tasks": {"parallel": task | {"languages": task["languages"][:7]}}}
    )
    assert "parallel/multilingual/err" in told(
        {**header, "tasks": {"parallel": task | {"metrics": task["metrics"] | {"multilingual": ["err"]}}}}
    )
    assert "metrics.nowhere" in told(
        {**header, "tasks": {"parallel": task | {"metrics": task["metrics"] | {"nowhere": []}}}}
    )


def test_a_refused_write_is_one_line(tmp_path, saved):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    with pytest.raises(OSError, match=r"cannot write .*a file/per_query.npz: .*; make room or name another folder"):
        write(blocked / "per_query.npz", read(saved))


def test_tables_that_contradict_themselves_are_refused(saved):
    table = read(saved)["parallel"]
    for change, told in (
        ({"ids": table.ids[:4] * 2, "languages": ("de",) * 8}, "occurs twice in one language"),
        ({"candidate_languages": ("de", "de")}, "names a language twice"),
        ({"paragraphs": ("a",) * 7}, "8 query ids and 7 paragraphs: give one per query, or none"),
        ({"monolingual": {"map": np.ones(7)}}, r"monolingual/map has shape \(7,\), expected \(8,\)"),
        ({"multilingual": {"map": np.full(8, np.inf)}}, "infinite value"),
        ({"cross_lingual": {"map": np.ones((8, 2))}}, "values in the queries' own language"),
        ({"ids": (), "languages": ()}, "0 query ids"),
    ):
        with pytest.raises(ValueError, match=told):
            replace(table, **change)
