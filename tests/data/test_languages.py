"""Every way to write a language's code gives one tag; different scripts stay apart; unknown codes name the nearest."""

import pytest
from babel import Locale
from babel.core import get_global
from hypothesis import given
from hypothesis import strategies as st

from hybrid_jax.data.languages import base_language, is_language_key, language_tag, usual_script

SAME = {
    "en": ["en", "eng", "EN", "en-us", "en_US", "eng_Latn", "en-Latn-US", " en "],
    "ar": ["ar", "ara", "arb", "arb_Arab", "ar-EG"],
    "de": ["de", "deu", "ger", "DE", "de-DE", "deu_Latn"],
    "he": ["he", "heb", "iw", "heb_Hebr"],
    "id": ["id", "in", "ind", "ind_Latn", "id-ID"],
    "ko": ["ko", "kor", "kor_Hang", "ko-KR", "ko_Kore"],
    "pt": ["pt", "por", "por_Latn", "pt-BR", "pt_br"],
    "zh": ["zh", "zho", "chi", "cmn", "zho_Hans", "zh-Hans", "zh_CN", "zh-Hans-CN", "cmn_Hans"],
    "zh-Hant": ["zh-Hant", "zh_TW", "zho_Hant", "zh-tw", "zh-Hant-TW", "cmn-Hant"],
    "sr": ["sr", "srp", "srp_Cyrl"],
    "sr-Latn": ["sr-Latn", "srp_Latn", "sh"],
    "ms": ["ms", "msa", "zsm", "zsm_Latn"],
    "fa": ["fa", "pes", "pes_Arab", "per"],
    "fa-AF": ["prs", "prs_Arab", "fa_AF"],
    "fil": ["fil", "tl", "tgl_Latn"],
    "pa-Arab": ["pa-PK", "pa-Arab", "pan_Arab"],
    "pt-PT": ["pt-PT", "por_PT", "pt-Latn-PT"],
    "ca-valencia": ["ca-valencia", "cat_valencia", "ca-ES-valencia"],
    "tlx": ["tlx"],  # ISO 639-3 alone has it
}


def test_every_way_to_write_a_language_gives_one_tag():
    assert {tag: [language_tag(code) for code in codes] for tag, codes in SAME.items()} == {
        tag: [tag] * len(codes) for tag, codes in SAME.items()
    }


@given(st.sampled_from(sorted(code for code in Locale("en").languages if code not in ("mul", "und", "zxx", "root"))))
def test_a_tag_is_its_own_tag_whatever_the_case_and_the_separator(code: str):
    tag = language_tag(code)
    assert [language_tag(tag.swapcase()), language_tag(tag.replace("-", "_"))] == [tag, tag]
    assert base_language(tag) == tag.split("-")[0]


def test_the_tag_of_every_retired_code_is_its_own_tag():
    tags = {language_tag(code) for code in get_global("language_aliases") if code != "cls"}
    assert [tag for tag in tags if language_tag(tag) != tag] == []


def test_scripts_of_tags():
    codes = ("zh", "zh-Hant", "zh-HK", "sr", "sr-Latn", "ar", "acm", "yue", "ko")
    assert [usual_script(code) for code in codes] == [
        "Hans", "Hant", "Hant", "Cyrl", "Latn", "Arab", "Arab", "Hant", "Kore",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("German", "write 'de'"),
        ("vietnamse", "write 'vi'"),
        ("cz", "did you mean 'cs' (Czech)? 'cz' is the country Czechia"),
        ("jp", "did you mean 'ja' (Japanese)? 'jp' is the country Japan"),
        ("zh-Hanz", "write 'zh', or add a script or region as in 'zh-Hant' or 'pt-BR'"),
        ("de-XX", "write 'de', or add a script or region as in 'zh-Hant' or 'pt-BR'"),
        ("en-x-mine", "write 'en', or add a script or region as in 'zh-Hant' or 'pt-BR'"),
        ("qqq_Latn", "write one of ISO 639, such as 'de', 'deu', 'zh-Hant' or 'arb_Arab'"),
        ("xx", "write one of ISO 639, such as 'de', 'deu', 'zh-Hant' or 'arb_Arab'"),
        ("", "write one of ISO 639, such as 'de', 'deu', 'zh-Hant' or 'arb_Arab'"),
        ("root", "the nearest is 'ro' (Romanian)"),
        ("mul", "which says that there is no one language: write the texts' own"),
        ("d\u0435", "write one of ISO 639"),  # a Cyrillic letter
    ],
)
def test_an_unknown_code_names_the_nearest(code: str, advice: str):
    with pytest.raises(ValueError) as error:
        language_tag(code)
    assert str(error.value).startswith(f"unknown language code {code!r}, {advice}")


def test_words_that_are_codes_of_small_languages_are_not_taken_for_language_columns():
    words = ["id", "set", "tag", "doc", "neg", "pos", "sub", "train", "text", "query", "url", "dev", "src", "xx"]
    assert [word for word in words if is_language_key(word)] == ["id", "src"]  # `formats` leaves these two out
    assert all(map(is_language_key, ("en", "deu", "pt-BR", "ace_Latn", "yue", "fil", "IW")))
