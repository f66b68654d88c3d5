"""Settings and macro averages, with encoders whose ranking is known in advance."""

from dataclasses import replace

import ir_measures
import numpy as np
import pytest

from hybrid_jax.eval.full_ranking import evaluate, run
from hybrid_jax.eval.measures.catalogue import FULL_RANKING, HEADLINE, SETTINGS
from hybrid_jax.eval.tasks import Candidate, Query, RetrievalTask

LANGUAGES = ("de", "en", "th")


def test_an_encoder_of_meaning_alone_is_perfect(make_task, knows_the_record):
    task = make_task(LANGUAGES, 20)
    result = evaluate(knows_the_record(task, meaning=1, language=0), task, "passage")
    for name in ("map", "mrr", "ndcg@10", "recall@10"):
        assert result[name] == pytest.approx(dict.fromkeys(SETTINGS, 1.0))
    assert result["recall@1"] == pytest.approx({"monolingual": 1, "cross_lingual": 1, "multilingual": 1 / 3})
    assert result["rank_distance"] == result["rank_distance_median"] == 2
    assert result.settings == {"monolingual": 3, "cross_lingual": 6, "multilingual": 3}
    assert (result.questions, result.candidates, result.languages) == (60, 60, list(LANGUAGES))


def test_language_bias_shows_only_when_languages_compete(make_task, knows_the_record):
    count, languages = 20, len(LANGUAGES)
    task = make_task(LANGUAGES, count)
    result = evaluate(knows_the_record(task, meaning=1, language=3), task, "passage")
    # In Mul. the relevant one of the own language is first, all else of that language follows, then the translations.
    translations = [(1 + i) / (count + i) for i in range(1, languages)]
    assert result["map"] == pytest.approx(
        {"monolingual": 1, "cross_lingual": 1, "multilingual": (1 + sum(translations)) / languages}
    )
    assert result["rank_distance"] == count + languages - 2


def test_a_random_encoder_gets_what_chance_gives(make_task, random_encoder):
    count = 60
    result = evaluate(random_encoder, make_task(LANGUAGES, count), "passage")
    # One relevant candidate at a uniform rank: the mean of 1 / rank is H(n) / n. Texts on both sides share no vectors.
    inverse = 1 / np.arange(1, count + 1)
    spread = inverse.std() / np.sqrt(count * len(LANGUAGES))
    for setting in ("monolingual", "cross_lingual"):
        assert result.value("map", setting) == pytest.approx(inverse.mean(), abs=5 * spread)
        assert result.value("map", setting) == pytest.approx(result.value("mrr", setting))
    # Three uniform ranks among n: the expected range is (n + 1) * 2 / 4.
    assert result["rank_distance"] == pytest.approx((3 * count + 1) / 2, rel=0.15)


def test_equal_to_trec_eval_with_ties(make_task):
    class Coarse:
        """Twelve directions for 60 texts, so that most scores are tied and all are exact in trec_eval's floats."""

        def __init__(self):
            self.given = []

        def encode_queries(self, texts):
            direction = np.random.default_rng(len(self.given)).integers(0, 12, len(texts))
            self.given.append(np.eye(12, dtype=np.float32)[direction])
            return self.given[-1]

        encode_passages = encode_queries

    task, encoder = make_task(LANGUAGES, 20), Coarse()
    result = evaluate(encoder, task, "passage")
    scores = encoder.given[0] @ encoder.given[1].T
    names = [f"{row.language}/{row.id}" for row in task.candidates]
    qrels = [ir_measures.Qrel(str(i), names[j], 1) for i, j in task.relevance]
    measures = {"map": ir_measures.AP, "mrr": ir_measures.RR, "ndcg@10": ir_measures.nDCG @ 10}
    measures |= {"recall@1": ir_measures.R @ 1, "recall@10": ir_measures.R @ 10}

    def trec_eval(query: str, candidates: set[str]):
        rows = [i for i, row in enumerate(task.queries) if row.language == query]
        columns = [j for j, row in enumerate(task.candidates) if row.language in candidates]
        run = [ir_measures.ScoredDoc(str(i), names[j], float(scores[i, j])) for i in rows for j in columns]
        held = {names[j] for j in columns}
        kept = [q for q in qrels if q.doc_id in held and int(q.query_id) in rows]
        return ir_measures.pytrec_eval.calc_aggregate(list(measures.values()), kept, run)

    for query in LANGUAGES:
        pooled = trec_eval(query, set(LANGUAGES))
        for name, measure in measures.items():
            assert result.per_language[query].value(name) == pytest.approx(pooled[measure], abs=1e-9)
        for candidate in LANGUAGES:
            expected = trec_eval(query, {candidate})
            for name, measure in measures.items():
                assert result.pairs[query][candidate][name] == pytest.approx(expected[measure], abs=1e-9)


def uneven_task() -> RetrievalTask:
    """Question a in three languages, b in de and en, c in en alone."""
    names = [("de", "a"), ("en", "a"), ("th", "a"), ("de", "b"), ("en", "b"), ("en", "c")]
    return RetrievalTask(
        name="uneven",
        queries=tuple(Query(record, language, f"{language} {record}") for language, record in names),
        candidates=tuple(Candidate(record, language, (f"{language} {record}",)) for language, record in names),
        relevance=np.array([(i, j) for i, x in enumerate(names) for j, y in enumerate(names) if x[1] == y[1]]),
        candidate_texts=("passage",),
    )


def test_a_pair_has_only_the_questions_that_exist_in_both_languages(knows_the_record):
    task = uneven_task()
    result = evaluate(knows_the_record(task, meaning=1, language=0), task, "passage")
    questions = {(a, b): scores.questions for a, row in result.pairs.items() for b, scores in row.items()}
    own = {("de", "de"): 2, ("en", "en"): 3, ("th", "th"): 1}
    assert questions == own | {
        **{("de", "en"): 2, ("en", "de"): 2, ("de", "th"): 1, ("th", "de"): 1, ("en", "th"): 1, ("th", "en"): 1}
    }
    # c has no translation, so it has no rank distance: de and en average a (2 apart) and b (1 apart), th has a alone.
    assert result["rank_distance"] == pytest.approx(np.mean([1.5, 1.5, 2]))


def test_the_cross_lingual_mean_is_over_ordered_pairs():
    # th has no question of its own and de none in th, so the mean over pairs is not the mean of the languages' means.
    axis = np.eye(4, dtype=np.float32)
    vectors = {"de q": axis[0], "en q": axis[0], "de p": axis[1], "en p": axis[0], "th p": axis[0], "en x": axis[1]}
    vectors |= {"de x": axis[0]}

    class Table:
        def encode_queries(self, texts):
            return np.stack([vectors[text] for text in texts])

        encode_passages = encode_queries

    task = RetrievalTask(
        name="lopsided",
        queries=(Query("1", "de", "de q"), Query("2", "en", "en q")),
        candidates=tuple(Candidate(text, text[:2], (text,)) for text in ("de p", "de x", "en p", "en x", "th p")),
        relevance=np.array([(0, 2), (1, 0), (1, 4)]),
        candidate_texts=("passage",),
    )
    result = evaluate(Table(), task, "passage")
    # de→en finds it first (1), en→de second (1/2), en→th first (1); there is no monolingual question at all.
    assert result.value("map", "cross_lingual") == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert result.per_language["en"].value("map", "cross_lingual") == pytest.approx(3 / 4)
    assert result.value("map", "monolingual") is None
    assert result.settings == {"monolingual": 0, "cross_lingual": 3, "multilingual": 2}


def test_every_table_agrees_with_the_macro_means(make_task, random_encoder):
    result = evaluate(random_encoder, make_task(LANGUAGES, 15), "passage")
    for name in FULL_RANKING:
        for setting in SETTINGS:
            rows = [row.means(name)[setting] for row in result.per_language.values()]
            assert result.value(name, setting) == pytest.approx(np.mean(np.array(rows, float)))
        own = [result.pairs[language][language][name] for language in LANGUAGES]
        assert result.value(name, "monolingual") == pytest.approx(np.mean(own))
    headline = result.headline.model_dump()
    assert headline == {name: value for name, value in result.model_dump().items() if name in headline}
    assert set(headline) == {*HEADLINE, "intervals", "bias", "modes", "first_result"}


def test_run_encodes_each_text_once_and_names_the_candidate_texts(make_task, knows_the_record):
    task = make_task(LANGUAGES, 4)
    twice = tuple(Candidate(f"{row.id}x", row.language, row.texts) for row in task.candidates)
    written = tuple(replace(row, texts=(row.texts[0], row.texts[0] + " short")) for row in task.candidates + twice)
    task = replace(task, candidates=written, candidate_texts=("long", "short"))
    encoder = knows_the_record(task, meaning=1, language=0)
    evaluation = run(encoder, [task])
    assert {key: row.candidate_text for key, row in evaluation.tasks.items()} == {
        "parallel": "long",
        "parallel:short": "short",
    }
    assert evaluation.sources == {"parallel": {"made up": "0" * 64}}
    passages = [text for text in encoder.asked if text.endswith("short")]
    assert len(passages) == len(set(passages)) == 12
    # A copy of the relevant passage ties with it; the rule lets the greater id, the copy, win.
    assert evaluation.tasks["parallel"].value("mrr", "monolingual") == pytest.approx(1 / 2)


def test_an_encoder_that_loses_a_text_is_refused(make_task):
    class Loses:
        def encode_queries(self, texts):
            return np.eye(len(texts), dtype=np.float32)[1:]

        encode_passages = encode_queries

    with pytest.raises(ValueError, match=r"returned shape \(5, 6\) for 6 texts"):
        evaluate(Loses(), make_task(("de", "en"), 3), "passage")
