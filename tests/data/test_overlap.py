"""Planted copies of evaluation texts are found in every script, and texts that have only words in common are not."""

import random
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_jax.data.normalised import CHARACTERS, WORDS, normalise
from hybrid_jax.data.overlap import Match, Overlap, TrainingText

ARTICLE = {  # Universal Declaration of Human Rights, article 1
    "ar": (
        "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا "
        "وعليهم أن يعامل بعضهم بعضا بروح الإخاء."
    ),
    "de": (
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind "
        "mit Vernunft und Gewissen begabt und sollen einander im Geiste der "
        "Brüderlichkeit begegnen."
    ),
    "el": (
        "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα "
        "δικαιώματα. Είναι προικισμένοι με λογική και συνείδηση, και οφείλουν να "
        "συμπεριφέρονται μεταξύ τους με πνεύμα αδελφοσύνης."
    ),
    "en": (
        "All human beings are born free and equal in dignity and rights. They are "
        "endowed with reason and conscience and should act towards one another in a "
        "spirit of brotherhood."
    ),
    "es": (
        "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, "
        "dotados como están de razón y conciencia, deben comportarse fraternalmente "
        "los unos con los otros."
    ),
    "hi": (
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता "
        "प्राप्त है। उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें "
        "भाईचारे के भाव से बर्ताव करना चाहिए।"
    ),
    "ja": (
        "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等であ"
        "る。人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければ"
        "ならない。"
    ),
    "ru": (
        "Все люди рождаются свободными и равными в своем достоинстве и правах. Они "
        "наделены разумом и совестью и должны поступать в отношении друг друга в "
        "духе братства."
    ),
    "th": ("มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ"),
    "tr": (
        "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve "
        "vicdana sahiptirler ve birbirlerine karşı kardeşlik zihniyeti ile hareket "
        "etmelidirler."
    ),
    "vi": (
        "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền "
        "lợi. Mọi con người đều được tạo hoá ban cho lý trí và lương tâm và cần phải "
        "đối xử với nhau trong tình anh em."
    ),
    "zh": ("人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"),
}
UNSPACED = ("ja", "th", "zh")
LANGUAGES = sorted(ARTICLE)


def matches(*training: str) -> list[Match]:
    """Which of the articles, in the order of LANGUAGES, are found in these training texts."""
    overlap = Overlap((ARTICLE[language],) for language in LANGUAGES)
    overlap.look_at(TrainingText(str(number), text) for number, text in enumerate(training))
    return overlap.matches()


def upper(language: str, text: str) -> str:
    return text.replace("i", "İ").upper() if language == "tr" else text.upper()


def part(language: str, share: float) -> str:
    """The first `share` of the article's words, or letters, between other words."""
    text = ARTICLE[language]
    words = text.split()
    kept = text[: int(share * len(text))] if language in UNSPACED else " ".join(words[: int(share * len(words))])
    return f"Article 1: {kept} [1] 2024"


CHANGED = {
    "white space": lambda language, text: "\n\u00a0".join(text if language in UNSPACED else text.split()),
    "case": upper,
    "punctuation": lambda language, text: "«" + re.sub("[.,،।，。、]", " -- ", text) + "»!?",
    "decomposed": lambda language, text: unicodedata.normalize("NFKD", text),
    "composed": lambda language, text: unicodedata.normalize("NFC", text),
    "invisible": lambda language, text: "\u200b".join(text),
    "all of them": lambda language, text: unicodedata.normalize("NFD", upper(language, text.replace(".", " ; ")) + "…"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_copy_is_found_as_exact(language: str):
    text = ARTICLE[language]
    [match] = matches("nothing", f"\n{text} ", text)
    assert (LANGUAGES[match.number], match.kind, match.share) == (language, "exact", 1.0)
    assert match.training.where == "1"


@pytest.mark.parametrize("change", CHANGED)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_copy_that_is_written_otherwise_is_found_as_normalised(language: str, change: str):
    text = ARTICLE[language]
    changed = CHANGED[change](language, text)
    [match] = matches("nothing", changed)
    kind = "exact" if changed == text else "normalised"  # scripts without case, texts without accents
    assert (LANGUAGES[match.number], match.kind, match.training.where) == (language, kind, "1")


@pytest.mark.parametrize("change", [None, "case", "punctuation", "decomposed"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_most_of_a_text_inside_another_is_found_as_partial(language: str, change: str | None):
    planted = part(language, 0.85)
    changed = CHANGED[change](language, planted) if change else planted
    [match] = matches("nothing", changed)
    assert (LANGUAGES[match.number], match.kind, match.training.where) == (language, "partial", "1")
    assert 0.5 < match.share < 1.0


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_smaller_part_and_the_same_words_in_another_order_are_not_found(language: str):
    units = list(ARTICLE[language]) if language in UNSPACED else ARTICLE[language].split()
    generator = random.Random(0)
    shuffled = [("" if language in UNSPACED else " ").join(generator.sample(units, len(units))) for _ in range(50)]
    assert matches(part(language, 0.4), *shuffled) == []


def test_the_share_is_that_of_all_training_texts_together():
    # 20 different words have 11 shingles. The first 14 words have 5 of them, the last 12 have 3.
    words = [f"w{n}" for n in range(20)]
    overlap = Overlap([(" ".join(words),)])
    overlap.look_at([TrainingText("head", " ".join(words[:14]))])
    assert overlap.matches() == []
    overlap.look_at([TrainingText("tail", " ".join(words[8:]))])
    [match] = overlap.matches()
    assert match.share == pytest.approx(8 / 11)
    assert match.training.where == "head"
    assert overlap.matches(share=8 / 11) == []


def test_shingles_do_not_reach_from_one_text_into_the_next():
    words = [f"w{n}" for n in range(20)]
    overlap = Overlap([(" ".join(words),)])
    overlap.look_at(TrainingText("", " ".join(words[n : n + WORDS - 1])) for n in range(11))
    assert overlap.matches(share=0.0) == []


def test_a_text_counts_in_its_strongest_form_and_kind():
    overlap = Overlap([("Title. One two", "One two"), ("ONE TWO", "other")])
    overlap.look_at([TrainingText("a", "one two!"), TrainingText("b", "One two")])
    found = [(match.number, match.form, match.kind, match.training.where) for match in overlap.matches()]
    assert found == [(0, 1, "exact", "b"), (1, 0, "normalised", "a")]


def test_short_texts_are_those_without_a_shingle():
    letters = ARTICLE["zh"].replace("，", "").replace("。", "")
    words = [f"w{n}" for n in range(WORDS)]
    texts = [" ".join(words[1:]), " ".join(words), letters[: CHARACTERS - 1], letters[:CHARACTERS], "?!"]
    assert Overlap((text,) for text in texts).short() == {0, 2, 4}


def test_nothing_is_found_without_texts():
    for texts, training in (([], ["a"]), ([("a",)], []), ([()], ["a"]), ([("",)], ["a"])):
        overlap = Overlap(texts)
        overlap.look_at(TrainingText("", text) for text in training)
        assert overlap.matches(share=0.0) == []


@given(st.text(max_size=40))
def test_normalising_forgets_what_it_says_it_forgets(text: str):
    once = normalise(text)
    assert normalise(unicodedata.normalize("NFD", text)).joined == once.joined
    if once.words:
        assert normalise(" ".join(once.words)).joined == once.joined
        assert normalise(f"({text})\t").joined == once.joined
