from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from reading import ENGLISH, GERMAN, REVIEWS, TEXT, every_row, examples, opened

from nlp_suite.datasets import Dataset, Feature
from nlp_suite.datasets.rows import Row
from nlp_suite.errors import UserError

nltk = pytest.importorskip("nltk")

CORPORA = {
    "movie_reviews/neg/cv000_29416.txt": "plot : two teen couples\ngo to a party .\n",
    "movie_reviews/pos/cv000_29590.txt": "films adapted from comic books\n",
    "movie_reviews/README": "no review",
    "sentence_polarity/rt-polarity.neg": "simplistic , silly and tedious . \n\nit's so laddish .\n",
    "sentence_polarity/rt-polarity.pos": "the rock is destined to be a new conan .\n",
    "twitter_samples/negative_tweets.json": json.dumps({"text": "hopeless :("}) + "\n",
    "twitter_samples/positive_tweets.json": json.dumps({"text": "thanks :)"}) + "\n",
    "twitter_samples/tweets.20150430-223406.json": json.dumps({"text": "RT politics"}) + "\n",
    "brown/ca01": "\tThe/at jury/nn said/vbd ./.\n\n\n\tIt/pps met/vbd ./.\nIt/pps voted/vbd ./.\n",
    "brown/cats.txt": "ca01 news\n",
    "gutenberg/austen-emma.txt": "[Emma]\n\nEmma Woodhouse, handsome,\nclever\n\n\nand rich\n",
    "reuters/training/1": "BAHIA COCOA\n  Showers continued\n  throughout the week.\n",
    "reuters/test/14826": "ASIAN EXPORTERS\n  Mounting friction\n",
    "reuters/cats.txt": "training/1 cocoa\ntest/14826 trade\n",
    "comtrans/alignment-de-en.txt": "Das ist gut .\nThat is good .\n0-0 1-1 2-2 3-3\n",
    "comtrans/alignment-en-fr.txt": "Thank you .\nMerci .\n0-0 2-1\n",
}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Lays small corpora out as NLTK's downloader does."""
    import nltk.corpus

    for name, text in CORPORA.items():
        path = tmp_path / "corpora" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    yield tmp_path
    for corpus in {name.partition("/")[0] for name in CORPORA}:
        reader = getattr(nltk.corpus, corpus)
        if "_unload" in vars(reader):  # NLTK keeps where a corpus was found
            reader._unload()


def rows(dataset: Dataset) -> list[tuple[str, int, dict[str, str]]]:
    return [(r.file, r.line, r.texts) for r in every_row(dataset) if isinstance(r, Row)]


def test_movie_reviews_is_a_row_a_file() -> None:
    assert rows(opened("nltk:movie_reviews", REVIEWS)) == [
        (
            "nltk:movie_reviews/neg/cv000_29416.txt",
            1,
            {"text": "plot : two teen couples go to a party .", "label": "neg"},
        ),
        (
            "nltk:movie_reviews/pos/cv000_29590.txt",
            1,
            {"text": "films adapted from comic books", "label": "pos"},
        ),
    ]


def test_sentence_polarity_is_a_row_a_line() -> None:
    assert [row[1:] for row in rows(opened("nltk:sentence_polarity", REVIEWS))] == [
        (1, {"text": "simplistic , silly and tedious .", "label": "neg"}),
        (3, {"text": "it's so laddish .", "label": "neg"}),
        (1, {"text": "the rock is destined to be a new conan .", "label": "pos"}),
    ]


def test_tweets_without_a_label_are_passed_over_when_one_is_wanted() -> None:
    assert [row[2] for row in rows(opened("nltk:twitter_samples", REVIEWS))] == [
        {"text": "hopeless :(", "label": "negative"},
        {"text": "thanks :)", "label": "positive"},
    ]
    assert [row[2]["text"] for row in rows(opened("nltk:twitter_samples", (TEXT,)))] == [
        "hopeless :(",
        "thanks :)",
        "RT politics",
    ]


def test_brown_is_a_row_a_paragraph_without_tags() -> None:
    assert [row[2]["text"] for row in rows(opened("nltk:brown", (TEXT,)))] == [
        "The jury said .",
        "It met . It voted .",
    ]


def test_gutenberg_is_a_row_a_paragraph() -> None:
    assert [row[1:] for row in rows(opened("nltk:gutenberg", (TEXT,)))] == [
        (1, {"text": "[Emma]"}),
        (3, {"text": "Emma Woodhouse, handsome, clever"}),
        (7, {"text": "and rich"}),
    ]


def test_reuters_keeps_its_own_test_split() -> None:
    dataset = opened("nltk:reuters", (TEXT,))
    assert examples(dataset, "test") == [{"text": "ASIAN EXPORTERS Mounting friction"}]
    assert list(dataset.sources) == ["test", "train"]
    assert dataset.notes == ["validation is 5% of train, cut by a hash of each row"]


def test_comtrans_is_read_in_either_direction() -> None:
    expected = {"de": "Das ist gut .", "en": "That is good ."}
    assert [row[2] for row in rows(opened("nltk:comtrans", (GERMAN, ENGLISH)))] == [expected]
    assert [row[2] for row in rows(opened("nltk:comtrans", (ENGLISH, GERMAN)))] == [expected]


def test_a_pair_of_languages_that_comtrans_has_not_is_refused() -> None:
    features = (Feature("de", "text"), Feature("fr", "text"))
    with pytest.raises(UserError, match=r"must hold `de` and `fr`\. Received: data=nltk:comtrans"):
        opened("nltk:comtrans", features)


def test_a_corpus_without_labels_is_refused_for_sentiment() -> None:
    with pytest.raises(
        UserError, match=r"must hold `text` and `label`\. Received: data=nltk:brown"
    ):
        opened("nltk:brown", REVIEWS)


def test_a_corpus_that_is_not_there_gets_the_command_that_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "empty")])
    with pytest.raises(UserError) as caught:
        opened("nltk:brown", (TEXT,))
    assert str(caught.value).endswith("Get it with: python -m nltk.downloader brown")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("moviereviews", "Did you mean nltk:movie_reviews?"), ("xyz", "Known are movie_reviews, ")],
)
def test_an_unknown_corpus_gets_a_hint(name: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        opened(f"nltk:{name}", (TEXT,))
    assert hint in str(caught.value)
