"""Results in mteb's files, so that mteb's own loader and tables read them: one JSON per task, and one of the model.

The layout is that of mteb 2's result cache. mteb is not needed to write the files; to read them:

    mteb.ResultCache("eval/mteb").load_results()

Two kinds of files. A task that mteb has (`XQuADRetrieval.json`) holds what mteb would measure on the same data and
nothing else, under mteb's metric names: a figure whose definition differs from mteb's is left out (MAP over a pool of
more than mteb's 1,000 places; pairs of NTREX variants that mteb lacks). Every task of ours is also written whole, as
`hybrid_jax.TASK.json`, with the settings as splits; there `ndcg_at_10` and `recall_at_k` mean what they mean in mteb,
and `map`, `mrr` (over the full ranking) and `rank_distance` are ours.

Unknown values are null, as in mteb: `mteb_version` (no mteb ran), times, emissions, the model's size.
`dataset_revision` is the hash of the files that were read, not a revision of mteb's copy on the hub.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_jax.disk.files import atomic_file
from hybrid_jax.eval.languages import language
from hybrid_jax.eval.measures.catalogue import FULL_RANKING, METRICS, POOLS, SETTINGS, Metric
from hybrid_jax.eval.report.file_names import FileNames
from hybrid_jax.eval.report.schema import BitextResult, PoolResult, Provenance, RankedResult, Report

Row = dict[str, Any]

MTEB_DEPTH = 1000
"""mteb ranks this many: its MAP and MRR are over the full ranking of a pool that has no more."""
NOT_OF_THE_MODEL = ("evaluated_with", "debias")
"""What provenance states beside the model's own facts."""
# mteb writes XQuAD's Arabic as the individual language; where it names other scripts than CLDR, mteb is followed.
INDIVIDUAL: Mapping[str, Mapping[str, str]] = {"XQuADRetrieval": {"ar": "arb"}}
SCRIPTS: Mapping[str, Mapping[str, str]] = {
    "NTREXBitextMining": {"kor": "Hang", "mey": "Arab", "mon": "Mong", "orm": "Ethi", "shi": "Arab"},
    "Tatoeba": {"kor": "Hang", "max": "Deva", "ber": "Tfng"},
}
NTREX_VARIANTS = {"zho-CN": "zho_Hans", "zho-TW": "zho_Hant"}
"""mteb's names of NTREX's regional variants; it lacks the others (fra-CA, spa-MX, eng-GB ...)."""
# ISO 639-1 -> 639-3: the macrolanguage where there is one, as in mteb.
_ISO_639_3 = """
aa:aar ab:abk ae:ave af:afr ak:aka am:amh an:arg ar:ara as:asm av:ava ay:aym az:aze ba:bak be:bel bg:bul bi:bis bm:bam
bn:ben bo:bod br:bre bs:bos ca:cat ce:che ch:cha co:cos cr:cre cs:ces cu:chu cv:chv cy:cym da:dan de:deu dv:div dz:dzo
ee:ewe el:ell en:eng eo:epo es:spa et:est eu:eus fa:fas ff:ful fi:fin fj:fij fo:fao fr:fra fy:fry ga:gle gd:gla gl:glg
gn:grn gu:guj gv:glv ha:hau he:heb hi:hin ho:hmo hr:hrv ht:hat hu:hun hy:hye hz:her ia:ina id:ind ie:ile ig:ibo ii:iii
ik:ipk io:ido is:isl it:ita iu:iku ja:jpn jv:jav ka:kat kg:kon ki:kik kj:kua kk:kaz kl:kal km:khm kn:kan ko:kor kr:kau
ks:kas ku:kur kv:kom kw:cor ky:kir la:lat lb:ltz lg:lug li:lim ln:lin lo:lao lt:lit lu:lub lv:lav mg:mlg mh:mah mi:mri
mk:mkd ml:mal mn:mon mr:mar ms:msa mt:mlt my:mya na:nau nb:nob nd:nde ne:nep ng:ndo nl:nld nn:nno no:nor nr:nbl nv:nav
ny:nya oc:oci oj:oji om:orm or:ori os:oss pa:pan pi:pli pl:pol ps:pus pt:por qu:que rm:roh rn:run ro:ron ru:rus rw:kin
sa:san sc:srd sd:snd se:sme sg:sag si:sin sk:slk sl:slv sm:smo sn:sna so:som sq:sqi sr:srp ss:ssw st:sot su:sun sv:swe
sw:swa ta:tam te:tel tg:tgk th:tha ti:tir tk:tuk tn:tsn to:ton tr:tur ts:tso tt:tat ty:tah ug:uig uk:ukr ur:urd uz:uzb
ve:ven vi:vie vo:vol wa:wln wo:wol xh:xho yi:yid yo:yor za:zha zh:zho zu:zul
"""
ISO_639_3: Mapping[str, str] = {pair[:2]: pair[3:] for pair in _ISO_639_3.split()}


class _Place(NamedTuple):
    """A row's task, split and subset in mteb."""

    task: str
    split: str
    subset: str


def write(folder: Path, report: Report) -> list[Path]:
    """Writes `folder`/results/MODEL/REVISION/*.json and returns their paths; other models' results there stay.

    The model is named "hybrid_jax/" and its folder's name; its revision is the hash of what the report states of it.
    """
    provenance = report.provenance
    facts = {name: value for name, value in (provenance.model_extra or {}).items() if name not in NOT_OF_THE_MODEL}
    name = f"hybrid_jax/{Path(str(facts.get('folder', 'model'))).name}"
    revision = sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:40]
    place = folder / "results" / name.replace("/", "__").replace(" ", "_") / revision

    scores: dict[str, dict[str, dict[str, Row]]] = {}
    hashes: dict[str, dict[str, Mapping[str, str]]] = {}
    names = FileNames()
    for key, result in report.tasks.items():
        rows = [*_ranked(key, result), *_whole_ranked(f"hybrid_jax.{names.of(key)}", result)]
        _gather(scores, hashes, rows, provenance, key)
    for key, result in report.searches.items():
        _gather(scores, hashes, _searched(key, result, names), provenance, key)
    for key, result in report.bitext.items():
        _gather(scores, hashes, _mined(key, result, names), provenance, key)

    contents: dict[str, Any] = {"model_meta": _model_meta(name, revision)}
    for task, splits in scores.items():
        contents[task] = {
            "dataset_revision": _revision(hashes[task]),
            "task_name": task,
            "mteb_version": None,
            "scores": {split: list(rows.values()) for split, rows in splits.items()},
            "evaluation_time": None,
            "kg_co2_emissions": None,
            "date": None,
        }
    paths = []
    for file_name, content in contents.items():
        path = place / f"{file_name}.json"
        with atomic_file(path) as file:
            file.write((json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
        paths.append(path)
    return paths


def _gather(
    scores: dict[str, dict[str, dict[str, Row]]],
    hashes: dict[str, dict[str, Mapping[str, str]]],
    rows: Iterable[tuple[_Place, Row]],
    provenance: Provenance,
    key: str,
) -> None:
    """Adds a task's rows, and the hashes of its files; several of our tasks can make one of mteb's (MLQA, MIRACL)."""
    files = provenance.data_sha256
    for place, row in rows:
        subset = {"main_score": None, **row, "hf_subset": place.subset}
        scores.setdefault(place.task, {}).setdefault(place.split, {})[place.subset] = subset
        hashes.setdefault(place.task, {})[key] = files.get(key) or files.get(key.partition(":")[0]) or {}


def _ranked(key: str, result: RankedResult) -> Iterator[tuple[_Place, Row]]:
    """The rows of a full ranking that mteb has too."""
    if result.candidate_text != "paragraph":  # another data set in a folder of the same name
        return
    benchmark, _, rest = key.partition("_")
    if key == "xquad":
        for code, row in result.per_language.items():
            figures = _figures(FULL_RANKING, lambda name, row=row: row.value(name, "monolingual"))
            if row.candidates <= MTEB_DEPTH:
                figures |= {f"{name}_at_{MTEB_DEPTH}": row.value(name, "monolingual") for name in ("map", "mrr")}
            yield _Place("XQuADRetrieval", "validation", code), _row("XQuADRetrieval", figures, code)
    elif benchmark == "mlqa" and rest[:-3] in ("dev", "test"):
        split = {"dev": "validation", "test": "test"}[rest[:-3]]
        for query, cells in result.pairs.items():
            for candidate, cell in cells.items():
                subset = f"{ISO_639_3[candidate]}-{ISO_639_3[query]}"  # mteb names the paragraphs' language first
                figures = _figures(FULL_RANKING, cell.__getitem__)
                yield _Place("MLQARetrieval", split, subset), _row("MLQARetrieval", figures, candidate, query)


def _whole_ranked(task: str, result: RankedResult) -> Iterator[tuple[_Place, Row]]:
    """All settings of a full ranking, each a split."""
    for setting in SETTINGS:
        figures: dict[tuple[str, ...], dict[str, float | None]] = {}
        if setting == "cross_lingual":
            for query, cells in result.pairs.items():
                for candidate, cell in cells.items():
                    if query != candidate:
                        figures[query, candidate] = {name: cell[name] for name in FULL_RANKING}
        else:
            for code, row in result.per_language.items():
                figures[code,] = {name: row.value(name, setting) for name in (*FULL_RANKING, "rank_distance")}
        for languages, values in figures.items():
            if values["map"] is not None:
                named = {METRICS[name].mteb or name: value for name, value in values.items()}
                if named.get("rank_distance") is None:
                    named.pop("rank_distance", None)
                yield _Place(task, setting, "-".join(languages)), _row(task, named, *languages)


def _searched(key: str, result: PoolResult, names: FileNames) -> Iterator[tuple[_Place, Row]]:
    if key == "miracl_hn" or key.startswith("miracl_hn_"):
        task, split = "MIRACLRetrievalHardNegatives", "dev"
    elif key == "miracl" or key.startswith("miracl_"):
        task, split = "MIRACLRetrieval", "dev"
    else:
        task, split = f"hybrid_jax.{names.of(key)}", "test"
    for code, row in result.per_language.items():
        yield _Place(task, split, code), _row(task, _figures(POOLS, row.__getitem__), code)


def _mined(key: str, result: BitextResult, names: FileNames) -> Iterator[tuple[_Place, Row]]:
    """Both directions of each pair: mteb's subset "deu-eng" looks for each German sentence's English one."""
    places = {
        "flores": ("FloresBitextMining", "devtest"),
        "ntrex": ("NTREXBitextMining", "test"),
        "tatoeba": ("Tatoeba", "test"),
    }
    task, split = places.get(key) or (f"hybrid_jax.{names.of(key)}", "test")
    for pair, row in result.pairs.items():
        sides = _sides(pair, task)
        if sides is None:
            continue
        there, back = "-".join(sides), "-".join(reversed(sides))
        for direction, subset, languages in (("forward", there, sides), ("backward", back, sides[::-1])):
            if task == "Tatoeba" and direction == "backward":
                continue  # mteb mines into English only
            mined = {name: METRICS[name] for name in (f"weighted_f1_{direction}", f"accuracy_{direction}")}
            figures = _figures(mined, row.__getitem__)
            figures["recall"] = figures["accuracy"]  # weighted over labels that each occur once
            yield _Place(task, split, subset), _row(task, figures, *languages)


def _figures(metrics: Mapping[str, Metric], value: Callable[[str], float | None]) -> dict[str, float | None]:
    """{mteb's name: value} of the metrics that mteb defines in the same way."""
    return {metric.mteb: value(name) for name, metric in metrics.items() if metric.mteb}


def _sides(pair: str, task: str) -> tuple[str, str] | None:
    """The languages of a pair as mteb's subset names them; None where mteb has no such language."""
    if task != "NTREXBitextMining":
        parts = pair.split("-")
        splits = [("-".join(parts[:place]), "-".join(parts[place:])) for place in range(1, len(parts))]
        # A code may have a "-" itself, as in "zh-Hant-en".
        of_two_languages = [split for split in splits if all(map(language, split))]
        return (of_two_languages or splits)[0]
    named = []
    for code in (pair[:3], pair[4:]):  # "eng-zho-CN"
        iso, _, rest = code.partition("-")
        if len(rest) == 4 or not rest:
            named.append(f"{iso}_{rest or _script(iso, task)}")
        elif code in NTREX_VARIANTS:
            named.append(NTREX_VARIANTS[code])
        else:
            return None
    return named[0], named[1]


def _row(task: str, figures: Mapping[str, float | None], *languages: str) -> Row:
    """Figures with their main score first, and the languages as mteb writes them."""
    main = next(name for name in ("map", "ndcg_at_10", "f1") if name in figures)
    return {"main_score": figures[main], **figures, "languages": [_mteb_language(code, task) for code in languages]}


def _mteb_language(code: str, task: str) -> str:
    """ISO 639-3 and script ("deu-Latn"); an unknown code stays as it is."""
    base, _, script = code.replace("-", "_").partition("_")
    iso = INDIVIDUAL.get(task, {}).get(base) or ISO_639_3.get(base, base)
    script = script if len(script) == 4 else _script(base, task)
    return f"{iso}-{script}" if script else code


def _script(base: str, task: str) -> str | None:
    facts = language(base)
    return SCRIPTS.get(task, {}).get(base) or (facts.script if facts else None)


def _revision(files_by_task: Mapping[str, Mapping[str, str]]) -> str:
    """A digest of the files' hashes, or "unknown" where a task does not state its files."""
    hashes = {name: value for files in files_by_task.values() for name, value in files.items()}
    if not hashes or not all(files_by_task.values()):
        return "unknown"
    return "sha256:" + sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _model_meta(name: str, revision: str) -> dict[str, Any]:
    """The fields of mteb's ModelMeta; what the report does not say is null."""
    # fmt: off
    unknown = (
        "release_date", "languages", "n_parameters", "n_active_parameters_override", "n_embedding_parameters",
        "memory_usage_mb", "max_tokens", "embed_dim", "license", "open_weights", "public_training_code",
        "public_training_data", "reference", "training_datasets", "adapted_from", "superseded_by", "citation",
        "contacts", "experiment_kwargs", "output_dtypes", "extra_requirements_groups", "loader",
    )
    # fmt: on
    stated = {"name": name, "revision": revision, "loader_kwargs": {}, "framework": ["JAX"], "modalities": ["text"]}
    usage = {"model_type": ["dense"], "similarity_fn_name": "cosine", "use_instructions": None}
    return {**stated, **usage, "is_cross_encoder": False, **dict.fromkeys(unknown)}
