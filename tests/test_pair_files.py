"""Sequence pairs from files: the formats, the split by word, and what is wrong with a file, named by line."""

# ruff: noqa: RUF001  (phonetic letters look like others)

import hashlib
import re
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbench.data import registry
from dlbench.data.pair_datamodule import TransductionDataModule
from dlbench.data.pair_files import Normalisation, PairFiles, normalise, read_source
from dlbench.data.pairs import Pair, PairSet
from dlbench.errors import DataError, SyntheticDataNotice

P2G = PairFiles("phonemes_word", "p2g/train.tsv", "p2g/valid.tsv", "p2g/test.tsv")
WIKIPRON = PairFiles("word_phonemes", "train.tsv", "val.tsv", "test.tsv")
CMUDICT = PairFiles("cmudict", "cmudict/cmudict.dict", holdout=(2000, 12_000), max_train_words=106_837)
SPA_ENG = PairFiles(
    "target_source_characters", *(f"translit_spa_eng/{split}-eng-spa.txt" for split in ("train", "val", "test"))
)
PATH = Path("folder/file.tsv")


def parsed(files: PairFiles, text: str) -> list[Pair]:
    return files.parse(text.encode(), PATH)


def pair(phonemes: str, word: str) -> Pair:
    return Pair(tuple(phonemes.split()), tuple(word))


def write(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


# --- formats ---------------------------------------------------------------------------------------------------------


def test_phonemes_then_word_and_word_then_phonemes_give_the_same_pairs() -> None:
    expected = [pair("t͡ʃ æ p", "Chap"), pair("iː n", "één")]
    assert parsed(P2G, "t͡ʃ æ p\tChap\niː n\téén\n") == expected
    assert parsed(WIKIPRON, "Chap\tt͡ʃ æ p\néén\tiː n\n") == expected


def test_line_ends_a_byte_order_mark_and_double_spaces_are_no_content() -> None:
    assert parsed(P2G, "\ufeffk æ t\tcat\r\nd  ɔ ɡ \tdog\r\n\n") == [pair("k æ t", "cat"), pair("d ɔ ɡ", "dog")]
    assert parsed(P2G, "k æ t\tcat") == [pair("k æ t", "cat")]


@pytest.mark.parametrize("end", [*"\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", "\n\ufeff"])
@pytest.mark.parametrize(
    ("files", "line"), [(P2G, "k æ t\tcat"), (WIKIPRON, "cat\tk æ t"), (CMUDICT, "CAT K AE1 T"), (SPA_ENG, "Go.\tVe.")]
)
def test_lines_that_end_otherwise_are_not_read_as_one(files: PairFiles, line: str, end: str) -> None:
    number = 1 + end.count("\n")
    with pytest.raises(DataError, match=rf":{number}: an? .+ inside the line; end lines with a line feed"):
        parsed(files, end.join([line, line, ""]))
    assert len(parsed(files, f"{line}\n\n" if files is CMUDICT else f"{line}\n{line}\r\n")) == 2 - (files is CMUDICT)


def test_cmudict_comments_alternatives_and_stress() -> None:
    text = (
        ";;; a comment\nrecord R EH1 K ER0 D\nrecord(2) R IH0 K AO1 R D # verb\nno.(2) N OW1\n'em AH0 M\n'em(2) AH1 M\n"
    )
    bare = [pair("R EH K ER D", "record"), pair("R IH K AO R D", "record"), pair("N OW", "no."), pair("AH M", "'em")]
    assert parsed(CMUDICT, text) == bare  # the last word's two pronunciations differ in their stress alone
    stressed = parsed(replace(CMUDICT, stress=True), text)
    assert stressed[1] == pair("R IH0 K AO1 R D", "record")
    assert len(stressed) == 5


def test_translation_reads_the_second_column_as_the_source_and_ignores_the_third() -> None:
    assert parsed(SPA_ENG, "Who?\t¿Quién?\t42\tx\nno .\tno .\n") == [
        Pair(tuple(" quien ?"), tuple("who ?")),
        Pair(tuple("no ."), tuple("no .")),
    ]


def test_a_pair_that_comes_twice_stays_twice() -> None:
    assert len(parsed(P2G, "k æ t\tcat\nk æ t\tcat\n")) == 2


def test_normalisation_on_examples() -> None:
    assert normalise("¿Quién lo pintó?") == " quien lo pinto ?"
    assert normalise("I'm 3 años old!!") == "i m anos old ! !"


@given(st.text())
def test_normalised_text_is_plain_and_stays_as_it_is(text: str) -> None:
    plain = normalise(text)
    assert re.fullmatch(r"[a-z.!? ]*", plain)
    assert "  " not in plain
    assert normalise(plain) == plain
    assert normalise(unicodedata.normalize("NFD", text)) == plain


# Without what begins a comment, and what counts pronunciations.
WORDS = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cf", "Z"], exclude_characters="#;()＃；⑴（）"), min_size=1
).filter(lambda word: unicodedata.normalize("NFKC", word).split() == [unicodedata.normalize("NFKC", word)])


@given(st.lists(st.tuples(st.lists(WORDS, min_size=1), WORDS), min_size=1))
def test_what_is_written_is_read(rows: list[tuple[list[str], str]]) -> None:
    expected = [Pair(tuple(phonemes), tuple(word)) for phonemes, word in rows]
    there = "".join(f"{' '.join(phonemes)}\t{word}\n" for phonemes, word in rows)
    back = "".join(f"{word}\t{' '.join(phonemes)}\n" for phonemes, word in rows)
    for files, text in ((P2G, there), (WIKIPRON, back)):
        assert parsed(replace(files, normalisation="none"), text) == expected
        for form in ("NFC", "NFD"):  # what looks the same is read the same
            assert parsed(files, unicodedata.normalize(form, text)) == parsed(files, text)


@given(st.lists(st.tuples(st.lists(WORDS, min_size=1), WORDS), min_size=1), st.sampled_from(["NFC", "NFD", "NFKC"]))
def test_reading_what_was_read_changes_nothing(rows: list[tuple[list[str], str]], form: Normalisation) -> None:
    files = replace(P2G, normalisation=form, strip=True)
    for phonemes, word in rows:
        (read,) = parsed(files, f"{' '.join(phonemes)}\t{word}\n")
        assert read.source == read_source(" ".join(phonemes), "phonemes_word", normalisation=form)
        assert read.source == read_source(" ".join(read.source), "phonemes_word", normalisation=form)


# --- what is odd -----------------------------------------------------------------------------------------------------


def test_what_looks_the_same_is_the_same_unless_text_is_to_be_read_as_it_is() -> None:
    line = unicodedata.normalize("NFD", "e\u0303\té\n")
    assert parsed(P2G, line) == [Pair(("\u1ebd",), ("é",))]
    assert parsed(replace(P2G, normalisation="NFD"), "é\té\n") == [Pair(("e\u0301",), ("e", "\u0301"))]
    assert parsed(replace(P2G, normalisation="none"), line) == [Pair(("e\u0303",), ("e", "\u0301"))]
    assert parsed(replace(P2G, normalisation="NFKC"), "k\tﬁ\n") == [pair("k", "fi")]


@pytest.mark.parametrize("space", [" ", "\u00a0", "\u3000", "\u200b"])
def test_spaces_at_the_ends_stay_and_are_named_or_go_if_asked(tmp_path: Path, space: str) -> None:
    texts = dict.fromkeys(WIKIPRON.paths(), "the\tð ə\nnew york\tn\n")
    texts["val.tsv"] = f"the\tð\n{space}the{space}\t ð ə \n"
    folder = write(tmp_path, texts)
    data = WIKIPRON.read(folder)
    assert "".join(data.val[1].target) == f"{space}the{space}"
    (notice,) = data.notices
    assert f"a side, a symbol like others: 1 (val.tsv:2 {f'{space}the{space}'!r}); data.strip=true strips" in notice
    stripped = replace(WIKIPRON, strip=True).read(folder)
    assert stripped.val[1] == pair("ð ə", "the")
    assert (stripped.train, stripped.notices) == (data.train, ())
    assert stripped.fingerprint() != data.fingerprint()


def test_sentences_are_stripped_on_both_sides() -> None:
    assert parsed(replace(SPA_ENG, strip=True), " Who?\t¿Quién?\n") == [Pair(tuple("quien ?"), tuple("who ?"))]
    with pytest.raises(DataError, match=r":1: the target side is empty"):
        parsed(replace(WIKIPRON, strip=True), "\u00a0\u200b\tk\n")


@pytest.mark.parametrize("files", [P2G, WIKIPRON, SPA_ENG])
def test_comments_are_left_out_and_named(tmp_path: Path, files: PairFiles) -> None:
    text = "# made by hand\nab\tab\n;;; a\tb\n#c\td\nba\tba\n"
    files = replace(files, train="t", val="v", test="w")
    data = files.read(write(tmp_path, {"t": text, "v": "ab\tab\n", "w": "ab\tab\n"}))
    assert ["".join(pair.target) for pair in data.train] == ["ab", "ba"]
    assert data.notices == ("comment lines, left out: 3 (t:1 '# made by hand' …); remove them from the file",)


def test_what_begins_most_lines_is_no_comment() -> None:
    assert parsed(P2G, "# k #\tk\n# d ɔ #\tdo\n") == [pair("# k #", "k"), pair("# d ɔ #", "do")]


def test_cmudict_knows_words_that_begin_like_comments() -> None:
    text = "#HASH-MARK HH AE1 SH\n## old comment\n# another\ncat K AE1 T\ndog D AO1 G\n"
    assert ["".join(pair.target) for pair in parsed(CMUDICT, text)] == ["#HASH-MARK", "cat", "dog"]


@pytest.mark.parametrize("word", ["read(2)", "read (12)"])
def test_the_number_of_a_pronunciation_is_no_part_of_a_word(tmp_path: Path, word: str) -> None:
    text = f"read\tɹ iː d\n{word}\tɹ ɛ d\n(3)\tθ ɹ iː\n"
    data = WIKIPRON.read(write(tmp_path, {**dict.fromkeys(WIKIPRON.paths(), "a\tb\n"), "train.tsv": text}))
    assert ["".join(pair.target) for pair in data.train] == ["read", "read", "(3)"]
    assert data.notices == (
        f"spellings with the number of a pronunciation, left out: 1 (train.tsv:2 '{word}'); remove it from the file",
    )


@pytest.mark.parametrize(
    ("files", "header"),
    [
        (P2G, "phonemes\tword"),
        (P2G, "Phonemes (IPA)\tSpelling"),
        (WIKIPRON, "\ufeffword\tpronunciation"),
        (WIKIPRON, "source\ttarget"),
        (SPA_ENG, "English\tSpanish"),
        (SPA_ENG, "english\tEspañol\tid"),
        (CMUDICT, "word phonemes"),
    ],
)
def test_names_of_columns_are_refused_in_the_first_line_alone(files: PairFiles, header: str) -> None:
    with pytest.raises(DataError, match=r"^folder/file\.tsv:1: names of columns .* not a pair; remove the line"):
        parsed(files, f"{header}\nab\tab\n".replace("\t", " " if files is CMUDICT else "\t"))
    assert parsed(WIKIPRON, "word\tw ɝ d\nsource\ts ɔ ɹ s\n") == [pair("w ɝ d", "word"), pair("s ɔ ɹ s", "source")]


def test_swapped_columns_are_refused() -> None:
    words = {"cat": "k æ t", "dog": "d ɔ ɡ", "I": "aɪ"}
    for files, other in ((P2G, "word_phonemes"), (WIKIPRON, "phonemes_word")):
        lines = [f"{word}\t{ipa}\n" if files is P2G else f"{ipa}\t{word}\n" for word, ipa in words.items()]
        with pytest.raises(DataError, match=f"^folder/file.tsv: most sources .*; data.format={other} reads the col"):
            parsed(files, "".join(lines))


# --- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "content", "message"),
    [
        (P2G, b"k\tc\nk c\n", "folder/file.tsv:2: no tab; expected segments, TAB, spelling"),
        (P2G, b"k\tc\n\nk\tc\n", "folder/file.tsv:2: no tab"),
        (P2G, b"k\tc\t42\n", "folder/file.tsv:1: 3 columns; expected segments, TAB, spelling"),
        (P2G, b" \tc\n", "folder/file.tsv:1: the source side is empty"),
        (P2G, b"k\t\n", "folder/file.tsv:1: the target side is empty"),
        (WIKIPRON, b"c\t \r\n", "folder/file.tsv:1: the source side is empty"),
        (CMUDICT, b"K AE1 T\tcat\n", "folder/file.tsv:1: a tab among the segments"),
        (CMUDICT, b"cat K AE1 T\ndog\n", "folder/file.tsv:2: the source side is empty"),
        (SPA_ENG, "yes\t¿¡,\n".encode(), "folder/file.tsv:1: the source side is empty"),
        (SPA_ENG, b"yes si\n", "folder/file.tsv:1: no tab; expected target, TAB, source"),
        (P2G, "k\tc\nk\té\n".encode("latin-1"), "folder/file.tsv:2: not UTF-8; save the file in that encoding"),
        (
            P2G,
            b"k" + b" k" * 100 + b"\tc\n",
            "folder/file.tsv:1: the source has 101 symbols, more than data.max_source_",
        ),
        (P2G, b"", "folder/file.tsv: no pairs in it"),
        (CMUDICT, b";;; nothing else\n", "folder/file.tsv: no pairs in it"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_number(files: PairFiles, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}") as error:
        files.parse(content, PATH)
    assert "\n" not in str(error.value)


@given(st.binary())
def test_any_bytes_are_read_or_refused_in_a_line(content: bytes) -> None:
    for files in (P2G, WIKIPRON, CMUDICT, SPA_ENG):
        try:
            assert all(pair.source and pair.target for pair in files.parse(content, PATH))
        except DataError as error:
            assert str(error).startswith(f"{PATH}:")


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    write(tmp_path, {"p2g/train.tsv": "k\tc\n"})
    with pytest.raises(DataError, match=r"p2g/valid\.tsv: no such file; .*python -m dlbench data fetch p2g"):
        P2G.read(tmp_path)
    (tmp_path / "p2g/valid.tsv").mkdir()
    with pytest.raises(DataError, match=r"p2g/valid\.tsv: cannot be read \(a folder, not a file\)"):
        P2G.read(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"val": "v"}, "name both files"),
        ({}, "give either the files val and test or holdout"),
        ({"val": "v", "test": "t", "holdout": (1, 1)}, "give either"),
        ({"val": "v", "test": "t", "max_train_words": 3}, "max_train_words goes with holdout"),
        ({"val": "", "test": "t"}, "'': must be the path of a file"),
        ({"val": "v", "test": "t", "stress": True}, "stress goes with format=cmudict"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairFiles("phonemes_word", "train.tsv", **arguments)


# --- own files -------------------------------------------------------------------------------------------------------


def own_files(folder: Path, prefix: str) -> PairFiles:
    """Three files of the user's own in a folder, named with a prefix."""
    for place, name in enumerate(("train", "val", "test")):
        write(folder, {f"{name}.tsv": f"k æ t\tcat{place}\n"})
    return PairFiles("phonemes_word", *(f"{prefix}{name}.tsv" for name in ("train", "val", "test")))


@pytest.mark.parametrize("where", ["absolute", "home", "working folder", "above", "data folder"])
def test_own_files_may_lie_anywhere(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder, prefix = {
        "absolute": (tmp_path / "mine", f"{tmp_path}/mine/"),
        "home": (tmp_path / "mine", "~/mine/"),
        "working folder": (tmp_path / "work" / "mine", "mine/"),
        "above": (tmp_path / "mine", "../mine/"),
        "data folder": (tmp_path / "data" / "mine", "mine/"),
    }[where]
    files = own_files(folder, prefix)
    assert (files.is_own, files.name) == (True, "mine")
    found = files.read(tmp_path / "data")
    assert [part[0].target for part in found.splits().values()] == [tuple(f"cat{place}") for place in range(3)]
    assert list(found.files) == ["mine/train.tsv", "mine/val.tsv", "mine/test.tsv"]
    assert found.provenance == "user copy"


def test_the_data_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, word in ((tmp_path / "mine", "here"), (tmp_path / "data" / "mine", "there")):
        write(folder, dict.fromkeys(("train.tsv", "val.tsv", "test.tsv"), f"a\t{word}\n"))
    files = PairFiles("phonemes_word", "mine/train.tsv", "mine/val.tsv", "mine/test.tsv")
    assert files.read(tmp_path / "data").train[0].target == tuple("there")


@pytest.mark.parametrize("source", ["auto", "files"])
@pytest.mark.parametrize("kept", [(), ("train.tsv",)])
def test_own_files_that_are_not_there_are_never_replaced(
    source: str, kept: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data" / "mine", dict.fromkeys(kept, "k æ t\tcat\n"))
    (tmp_path / "data").mkdir(exist_ok=True)
    data = TransductionDataModule(
        format="phonemes_word", train="mine/train.tsv", val="mine/val.tsv", test="mine/test.tsv", source=source,
        folder=str(tmp_path / "data"),
    )  # fmt: skip
    missing = "mine/val.tsv" if kept else "mine/train.tsv"
    with pytest.raises(DataError) as error:
        data.pair_set  # noqa: B018
    said = str(error.value)
    assert f"looked for {tmp_path / 'data' / missing}, {tmp_path / missing}" in said
    assert "correct data.train, data.val and data.test, all three of them, or put the files there" in said
    assert said.startswith("no mine pairs in " if not kept else missing)


def test_files_of_the_suites_own_data_sets_are_replaced_with_a_notice(tmp_path: Path) -> None:
    assert not P2G.is_own
    assert not CMUDICT.is_own
    data = TransductionDataModule(
        format="phonemes_word", train="p2g/train.tsv", val="p2g/valid.tsv", test="p2g/test.tsv",
        synthetic_sizes=(20, 5, 5), folder=str(tmp_path),
    )  # fmt: skip
    with pytest.warns(SyntheticDataNotice, match="using synthetic"):
        assert data.pair_set.provenance == "synthetic"


# --- the split by word -----------------------------------------------------------------------------------------------


def split(folder: Path, lines: list[str], **arguments: Any) -> PairSet:
    write(folder, {"train.dict": "".join(lines)})
    return PairFiles("cmudict", "train.dict", **{"holdout": (5, 7), **arguments}).read(folder)


LINES = [f"word{chr(97 + n // 26)}{chr(97 + n % 26)}{suffix} W {n}\n" for n in range(50) for suffix in ("", "(2)")]


def words(pairs: tuple[Pair, ...]) -> set[str]:
    return {"".join(pair.target) for pair in pairs}


def test_no_word_stands_in_two_splits_and_none_is_lost(tmp_path: Path) -> None:
    lines = [line.replace("\n", f" {number}x\n") for number, line in enumerate(LINES)]
    data = split(tmp_path, lines)
    parts = [words(part) for part in data.splits().values()]
    assert [len(part) for part in parts] == [38, 5, 7]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 50
    assert [len(part) for part in data.splits().values()] == [76, 10, 14]  # both pronunciations of each
    assert data.files.keys() == {"train.dict"}
    assert data.provenance == "user copy"


def test_the_split_depends_on_the_words_alone(tmp_path: Path) -> None:
    there, back = split(tmp_path, LINES), split(tmp_path, LINES[::-1])
    for name, part in there.splits().items():
        assert part == back.splits()[name][::-1]


def test_fewer_training_words_leave_the_other_splits_alone(tmp_path: Path) -> None:
    whole, part = split(tmp_path, LINES), split(tmp_path, LINES, max_train_words=10)
    assert (part.val, part.test) == (whole.val, whole.test)
    assert len(words(part.train)) == 10
    assert words(part.train) < words(whole.train)


@pytest.mark.parametrize("arguments", [{"holdout": (20, 30)}, {"max_train_words": 39}])
def test_too_few_words_to_split_are_refused(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"train\.dict: 50 words are too few for holdout="):
        split(tmp_path, LINES, **arguments)


def test_the_fingerprint_is_of_the_pairs_and_not_of_the_files(tmp_path: Path) -> None:
    texts = {name: f"k æ t\tcat\nd ɔ\t{name[0]}\n" for name in ("train.tsv", "val.tsv", "test.tsv")}
    files = replace(WIKIPRON, format="phonemes_word")
    unix = files.read(write(tmp_path / "unix", texts))
    dos = files.read(write(tmp_path / "dos", {name: text.replace("\n", "\r\n") for name, text in texts.items()}))
    assert unix.fingerprint() == dos.fingerprint()
    assert unix.files != dos.files
    others = {name: text.replace("cat", "ca\tt"[:2]) for name, text in texts.items()}
    assert files.read(write(tmp_path / "others", others)).fingerprint() != unix.fingerprint()
    assert replace(unix, val=unix.test, test=unix.val).fingerprint() != unix.fingerprint()


NAMES = P2G.paths()


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with three files, which are then the registered ones."""
    write(tmp_path, {name: "".join(f"k æ t\tcat{place}{n}\n" for n in range(3)) for place, name in enumerate(NAMES)})
    known = tuple(
        registry.File(name, None, hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()) for name in NAMES
    )
    monkeypatch.setitem(registry.REGISTRY, "p2g", replace(registry.get("p2g"), files=known))
    return tmp_path


def test_files_are_trusted_only_with_their_own_contents(registered: Path) -> None:
    assert P2G.read(registered).provenance == "verified"
    (registered / NAMES[2]).write_bytes((registered / NAMES[0]).read_bytes())
    data = P2G.read(registered)
    assert data.test == data.train
    assert data.provenance == "user copy"


@pytest.mark.parametrize("order", [(2, 1, 0), (0, 2, 1), (0, 0, 0), (0, 1, 1)])
def test_registered_files_in_other_roles_are_another_split(registered: Path, order: tuple[int, ...]) -> None:
    files = PairFiles("phonemes_word", *(NAMES[place] for place in order))
    assert files.read(registered).provenance == "user copy"


def test_a_registered_file_that_is_split_anew_is_another_split(registered: Path) -> None:
    assert PairFiles("phonemes_word", NAMES[0], holdout=(1, 1)).read(registered).provenance == "other split"


def test_registered_files_under_other_names_are_a_copy(registered: Path) -> None:
    (registered / "p2g").rename(registered / "own")
    files = PairFiles("phonemes_word", *(name.replace("p2g", "own") for name in NAMES))
    assert files.read(registered).provenance == "user copy"


# --- the real files --------------------------------------------------------------------------------------------------


@pytest.mark.real_data
class TestRealFiles:
    def test_p2g(self, real_data_folder: Path) -> None:
        data = P2G.read(real_data_folder)
        assert [len(part) for part in data.splits().values()] == [10_000, 1000, 1000]
        assert data.provenance == "verified"
        assert data.test[0] == pair("ɹ ə m e ɪ n d ɚ", "remainder")
        assert (data.source_joiner, data.target_joiner) == (" ", "")

    @pytest.mark.parametrize("files", [P2G, SPA_ENG])
    def test_the_normal_form_changes_nothing_in_the_course_files(
        self, real_data_folder: Path, files: PairFiles
    ) -> None:
        as_it_is = replace(files, normalisation="none").read(real_data_folder)
        assert files.read(real_data_folder).fingerprint() == as_it_is.fingerprint()

    def test_spaces_in_the_course_files_are_named_in_a_line(self, real_data_folder: Path) -> None:
        (notice,) = SPA_ENG.read(real_data_folder).notices
        assert ": 2,065 (translit_spa_eng/train-eng-spa.txt:18 ' que dijisteis ?' …); data.strip=true" in notice
        assert P2G.read(real_data_folder).notices == ()

    def test_normalisation_changes_nothing_in_the_course_files(self, real_data_folder: Path) -> None:
        for name in SPA_ENG.paths():
            lines = (real_data_folder / name).read_text(encoding="utf-8").splitlines()
            assert all(normalise(side) == side for line in lines for side in line.split("\t")[:2])

    def test_translation(self, real_data_folder: Path) -> None:
        data = SPA_ENG.read(real_data_folder)
        assert [len(part) for part in data.splits().values()] == [10_483, 1000, 1000]
        assert data.provenance == "verified"
        assert data.train[0] == Pair(tuple("tom fue despedido ."), tuple("tom was dismissed ."))
        assert data.source_joiner == ""

    def test_cmudict_in_the_sizes_of_the_literature(self, real_data_folder: Path) -> None:
        data = CMUDICT.read(real_data_folder)
        assert data.provenance == "verified"
        parts = [words(part) for part in data.splits().values()]
        assert [len(part) for part in parts] == [106_837, 2000, 12_000]
        assert len(set().union(*parts)) == 120_837
        assert len({symbol for pair in data.train for symbol in pair.source}) == 39  # ARPABET without stress
        assert max(Counter(data.test).values()) == 1
