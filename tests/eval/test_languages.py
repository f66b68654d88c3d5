"""Scripts, families and directions of every language that a benchmark here has, and groups of them."""

from importlib.resources import files

from hybrid_jax.eval.languages import Language, groups, language, script_name
from hybrid_jax.eval.tasks.lareqa import MLQA_R, XQUAD_R
from hybrid_jax.eval.tasks.miracl import COUNTS
from hybrid_jax.eval.tasks.squad_pairs import XQUAD_LANGUAGES

MMARCO = "ar de en es fr hi id it ja nl pt ru vi zh"
TYDIQA = "ar bn en fi id ko ru sw te"
# Of 204 in FLORES-200, as its files are named.
FLORES = """
ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn als_Latn amh_Ethi apc_Arab arb_Arab arb_Latn
ars_Arab ary_Arab arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn bak_Cyrl bam_Latn ban_Latn bel_Cyrl
bem_Latn ben_Beng bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn bug_Latn bul_Cyrl cat_Latn ceb_Latn ces_Latn cjk_Latn
ckb_Arab crh_Latn cym_Latn dan_Latn deu_Latn dik_Latn dyu_Latn dzo_Tibt ell_Grek eng_Latn epo_Latn est_Latn eus_Latn
ewe_Latn fao_Latn fij_Latn fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn gaz_Latn gla_Latn gle_Latn glg_Latn grn_Latn
guj_Gujr hat_Latn hau_Latn heb_Hebr hin_Deva hne_Deva hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn
ita_Latn jav_Latn jpn_Jpan kab_Latn kac_Latn kam_Latn kan_Knda kas_Arab kas_Deva kat_Geor kaz_Cyrl kbp_Latn kea_Latn
khk_Cyrl khm_Khmr kik_Latn kin_Latn kir_Cyrl kmb_Latn kmr_Latn knc_Arab knc_Latn kon_Latn kor_Hang lao_Laoo lij_Latn
lim_Latn lin_Latn lit_Latn lmo_Latn ltg_Latn ltz_Latn lua_Latn lug_Latn luo_Latn lus_Latn lvs_Latn mag_Deva mai_Deva
mal_Mlym mar_Deva min_Arab min_Latn mkd_Cyrl mlt_Latn mni_Beng mos_Latn mri_Latn mya_Mymr nld_Latn nno_Latn nob_Latn
npi_Deva nso_Latn nus_Latn nya_Latn oci_Latn ory_Orya pag_Latn pan_Guru pap_Latn pbt_Arab pes_Arab plt_Latn pol_Latn
por_Latn prs_Arab quy_Latn ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Olck scn_Latn shn_Mymr sin_Sinh slk_Latn
slv_Latn smo_Latn sna_Latn snd_Arab som_Latn sot_Latn spa_Latn srd_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn
szl_Latn tam_Taml taq_Latn taq_Tfng tat_Cyrl tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi tpi_Latn tsn_Latn tso_Latn
tuk_Latn tum_Latn tur_Latn twi_Latn tzm_Tfng uig_Arab ukr_Cyrl umb_Latn urd_Arab uzn_Latn vec_Latn vie_Latn war_Latn
wol_Latn xho_Latn ydd_Hebr yor_Latn yue_Hant zho_Hans zho_Hant zsm_Latn zul_Latn
"""


RETRIEVAL = sorted({*XQUAD_R, *MLQA_R, *COUNTS, *XQUAD_LANGUAGES, *MMARCO.split(), *TYDIQA.split()})


def test_the_languages_of_retrieval_benchmarks_are_known():
    facts = {code: language(code) for code in RETRIEVAL}
    unknown = [code for code, it in facts.items() if it is None or it.code != code or it.family is None]
    assert unknown == []
    assert [code for code, it in facts.items() if it is not None and it.name == code] == []


def test_the_languages_of_flores_are_known_and_name_their_script():
    facts = {code: language(code) for code in FLORES.split()}
    unknown = [code for code, it in facts.items() if it is None or it.script != code[4:] or it.family is None]
    assert unknown == []
    assert [code for code, it in facts.items() if it is not None and it.name in (code, code[:3])] == []


def test_what_a_code_says_and_what_it_leaves_to_custom():
    expected = [
        Language("zh", "Chinese", "Hans", "Sino-Tibetan", "ltr"),
        Language("zho-Hant", "Chinese", "Hant", "Sino-Tibetan", "ltr"),
        Language("zh-TW", "Chinese", "Hant", "Sino-Tibetan", "ltr"),  # a region can change what is usual
        Language("arb_Arab", "Arabic", "Arab", "Afro-Asiatic", "rtl"),
        Language("arz", "Egyptian Arabic", "Arab", "Afro-Asiatic", "rtl"),
        Language("ZHO-HANS", "Chinese", "Hans", "Sino-Tibetan", "ltr"),
        Language("pt-BR", "Portuguese", "Latn", "Romance", "ltr"),
        Language("srp_Latn", "Serbian", "Latn", "Slavic", "ltr"),
        Language("sr", "Serbian", "Cyrl", "Slavic", "ltr"),
        Language("ur", "Urdu", "Arab", "Indo-Iranian", "rtl"),
        Language("pa-PK", "Punjabi", "Arab", "Indo-Iranian", "rtl"),
        Language("pa", "Punjabi", "Guru", "Indo-Iranian", "ltr"),
        Language("prs", "Dari", "Arab", "Indo-Iranian", "rtl"),
        Language("iw", "Hebrew", "Hebr", "Afro-Asiatic", "rtl"),
        Language("div_Thaa", "Divehi", "Thaa", "Indo-Iranian", "rtl"),
        Language("acm", "Mesopotamian Arabic", "Arab", "Afro-Asiatic", "rtl"),
        Language("tlx", "tlx", "Latn", None, "ltr"),  # CLDR knows how Khehek is written; the table lacks its family
    ]
    assert [language(row.code) for row in expected] == expected


def test_an_unknown_code_is_not_guessed():
    codes = ["xx", "und", "qqq_Latn", "english", "", "de-", "l0"]
    assert [code for code in codes if language(code) is not None] == []


def test_groups_are_complete_sorted_and_named_for_people():
    found = groups(["zh", "de", "ar", "en", "ja", "l0", "yo", "de"], trained_on={"zho_Hant", "deu", "en", "l0"})
    assert found == {
        "script": {
            "Arabic": ["ar"],
            "Japanese": ["ja"],
            "Latin": ["de", "en", "yo"],
            "Simplified Han": ["zh"],
            "unknown": ["l0"],
        },
        "family": {
            "Afro-Asiatic": ["ar"],
            "Atlantic-Congo": ["yo"],
            "Germanic": ["de", "en"],
            "Japonic": ["ja"],
            "Sino-Tibetan": ["zh"],
            "unknown": ["l0"],
        },
        "seen": {"seen": ["de", "en", "l0", "zh"], "unseen": ["ar", "ja", "yo"]},
    }
    for members in found.values():
        assert sorted(code for codes in members.values() for code in codes) == [
            "ar",
            "de",
            "en",
            "ja",
            "l0",
            "yo",
            "zh",
        ]


def test_without_training_languages_there_is_no_group_of_seen_ones():
    assert groups(["tlx", "de"]) == {
        "script": {"Latin": ["de", "tlx"]},
        "family": {"Germanic": ["de"], "unknown": ["tlx"]},
    }
    assert groups(["de", "en"], trained_on=set())["seen"] == {"unseen": ["de", "en"]}


def test_every_line_of_the_table_is_used():
    _, *lines = (files("hybrid_jax.eval") / "languages.tsv").read_text(encoding="utf-8").splitlines()
    rows = [(family, code) for family, codes in (line.split("\t") for line in lines) for code in codes.split()]
    assert len({code for _, code in rows}) == len(rows)
    facts = [(family, code, language(code)) for family, code in rows]
    assert [code for family, code, it in facts if it is None or it.family != family or it.name == code] == []


def test_scripts_have_names():
    assert [script_name(script) for script in ("Latn", "Hans", "Hant", "Deva", "Xxxx")] == [
        "Latin", "Simplified Han", "Traditional Han", "Devanagari", "Xxxx",
    ]  # fmt: skip
