"""The DataModule of sequence pairs: what it delivers, says of itself, and does without files."""

import os
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Compose
from omegaconf import OmegaConf

from dlbench import identity
from dlbench.config import _check_section, build
from dlbench.data.pair_datamodule import TransductionDataModule
from dlbench.data.pairs import Pair
from dlbench.data.registry import REGISTRY
from dlbench.data.vocabulary import EOS, PAD, SOS, UNK, Vocabulary, until_end
from dlbench.errors import ConfigError, DataError, OddDataNotice, SyntheticDataNotice

SECTIONS = ("p2g", "spa_eng", "cmudict", "sigmorphon", "wikipron")
FILES = {"train": "toy/train.tsv", "val": "toy/val.tsv", "test": "toy/test.tsv"}
SIZES = (200, 20, 30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a toy set: two unknown symbols in validation."""
    (tmp_path / "toy").mkdir()
    train = "".join(f"{' '.join('kætdɔ'[: 1 + n % 5])}\t{'catdog'[: 1 + n % 6]}\n" for n in range(40))
    for name, text in {"train": train, "val": "k æ x\tcäb\nx k\tcat\n", "test": "k\tc\n"}.items():
        (tmp_path / FILES[name]).write_text(text, encoding="utf-8")
    return tmp_path


def module(folder: Path | None = None, **arguments: Any) -> TransductionDataModule:
    given = {"format": "phonemes_word", "batch_size": 16, **FILES, **arguments}
    return TransductionDataModule(folder=str(folder) if folder else None, **given)


def synthetic(**arguments: Any) -> TransductionDataModule:
    return module(source="synthetic", synthetic_sizes=SIZES, **arguments)


def config(compose: Compose, *overrides: str) -> dict[str, Any]:
    node: Any = OmegaConf.to_container(compose(*overrides).data)
    return dict(node)


# --- what is delivered -----------------------------------------------------------------------------------------------


def test_vocabularies_are_those_of_training_and_the_unknown_is_counted(folder: Path) -> None:
    data = module(folder)
    assert data.source_vocabulary == Vocabulary.from_sequences(["kætdɔ"])
    assert data.target_vocabulary == Vocabulary.from_sequences(["catdog"])
    batch = next(iter(data.val_dataloader()))
    assert batch.index.tolist() == [1, 0]  # by length
    assert batch.source.tolist()[0][0] == UNK
    facts = data.describe()
    assert facts["unknown"] == {
        "val": {"source": {"x": 2}, "target": {"b": 1, "ä": 1}},
        "test": {"source": {}, "target": {}},
    }
    assert facts["vocabulary_sizes"] == {"source": 9, "target": 4 + len(set("catdog"))}
    assert Vocabulary(tuple(facts["vocabularies"]["source"])) == data.source_vocabulary


def test_the_record_says_where_from_and_how_many_and_names_no_folder(folder: Path) -> None:
    facts = module(folder).describe()
    assert (facts["name"], facts["source"], facts["provenance"]) == ("toy", "files", "user copy")
    assert facts["sizes"] == {"train": 40, "val": 2, "test": 1}
    assert facts["files"].keys() == set(FILES.values())
    assert str(folder) not in str(facts)
    assert facts["joiners"] == {"source": " ", "target": ""}


def test_how_pairs_are_used_does_not_change_the_fingerprint_and_what_they_are_does(folder: Path) -> None:
    plain = module(folder).describe()["fingerprint"]
    for arguments in ({"reverse_source": True}, {"fraction": 0.5}, {"noise": 0.1}, {"batch_size": 3}, {"seed": 5}):
        assert module(folder, **arguments).describe()["fingerprint"] == plain
    (folder / FILES["test"]).write_text("k æ\tc\n", encoding="utf-8")
    assert module(folder).describe()["fingerprint"] != plain


def texts(folder: Path, **contents: str) -> Path:
    for name, text in contents.items():
        (folder / FILES[name]).write_text(text, encoding="utf-8")
    return folder


def test_what_training_has_not_seen_is_named_in_a_line(folder: Path) -> None:
    texts(folder, test="k\tc\u00a0\nk t\tc\u200bt\nk\tc\n")
    with pytest.warns(OddDataNotice) as notices:
        module(folder).describe()
    assert [str(notice.message) for notice in notices] == [
        r"lines with a space at an end of a side, a symbol like others: 1 (toy/test.tsv:1 'c\xa0'); data.strip=true "
        "strips them",
        "val and test have symbols that training has not seen, 1 source (x); 4 target (b U+00A0 NO-BREAK SPACE ä "
        "U+200B ZERO WIDTH SPACE): 4 of 5 words contain one",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module(texts(folder, val="k æ\tca\n", test="k\tc\n")).describe()


def test_the_same_text_in_another_normal_form_is_the_same_data(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    words = unicodedata.normalize("NFC", "k a f e\tcafé\ne t e\tété\n")
    texts(tmp_path, train=words, val=words, test=words)
    plain = module(tmp_path).describe()
    texts(tmp_path, test=unicodedata.normalize("NFD", words))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert module(tmp_path).describe()["fingerprint"] == plain["fingerprint"]
    with pytest.warns(OddDataNotice, match=r"2 target \(e U\+0301 COMBINING ACUTE ACCENT\): 2 of 4 words"):
        assert module(tmp_path, normalisation="none").describe()["fingerprint"] != plain["fingerprint"]


def test_sources_that_training_has_mostly_not_seen_are_refused(folder: Path) -> None:
    texts(folder, test="cat\tk\ndog\tk\nk\tc\n")
    with pytest.raises(
        DataError,
        match=r"^toy/test\.tsv: training has not seen 2 of 3 source symbols \(cat dog\); data\.format=word_phonemes",
    ):
        module(folder).describe()
    texts(folder, test="cat\tk\nk\tc\n")  # half of it
    assert module(folder).describe()["unknown"]["test"]["source"] == {"cat": 1}


def test_how_text_is_read_is_told_by_the_fingerprint_alone(compose: Compose) -> None:
    plain, other = (config(compose, "data=p2g", *more) for more in ((), ("data.normalisation=none", "data.strip=true")))
    assert identity.part(plain) == identity.part(other)


def test_a_file_changed_between_two_runs_of_a_process_is_read_again(folder: Path) -> None:
    assert module(folder).pairs("test") == (Pair(("k",), ("c",)),)
    (folder / FILES["test"]).write_text("æ\ta\n", encoding="utf-8")
    assert module(folder).pairs("test") == (Pair(("æ",), ("a",)),)


def test_a_file_changed_under_its_old_time_is_read_again(folder: Path) -> None:
    """As after cp -p, rsync -t or unpacking."""
    before, status = module(folder).describe(), (folder / FILES["test"]).stat()
    (folder / FILES["test"]).write_text("æ\ta\n", encoding="utf-8")
    os.utime(folder / FILES["test"], ns=(status.st_atime_ns, status.st_mtime_ns))
    after = module(folder).describe()
    assert before["fingerprint"] != after["fingerprint"]
    assert before["files"] != after["files"]


def test_reversal_concerns_the_source_of_every_split_and_not_the_pairs() -> None:
    plain, reverse = synthetic(), synthetic(reverse_source=True)
    assert plain.pairs("val") == reverse.pairs("val")
    for split in ("train", "val", "test"):
        for there, back in zip(plain.evaluation_dataloader(split), reverse.evaluation_dataloader(split), strict=True):
            assert torch.equal(there.index, back.index)
            assert torch.equal(there.target, back.target)
            for number, length in enumerate(there.source_lengths.tolist()):
                assert torch.equal(there.source[number, :length].flip(0), back.source[number, :length])


def test_noise_is_in_training_alone() -> None:
    plain, noisy = synthetic(), synthetic(noise=0.5)
    for split in ("train", "val", "test"):
        assert torch.equal(plain.tensors(split).source, evaluated(noisy, split))
    clean, struck = (torch.cat([b.source.flatten() for b in d.train_dataloader()]) for d in (plain, noisy))
    assert clean.shape == struck.shape
    assert 0.3 < ((clean != struck) & (clean != 0)).sum() / (clean != 0).sum() < 0.6


def evaluated(data: TransductionDataModule, split: str) -> torch.Tensor:
    """The split's source put together from its evaluation batches."""
    source = torch.zeros_like(data.tensors(split).source)
    for batch in data.evaluation_dataloader(split):
        source[batch.index, : batch.source.shape[1]] = batch.source
    return source


def test_symbols_end_before_the_first_end_or_with_it() -> None:
    numbers = [SOS, 5, PAD, 4, EOS, 6, EOS]
    assert until_end(numbers) == until_end([SOS, 5, 4, PAD]) == [5, 4]
    assert until_end(numbers, keep_end=True) == [5, 4, EOS]
    assert Vocabulary.from_sequences(["ab"]).decode(numbers) == ["b", "a"]


def test_a_fraction_is_of_the_training_pairs_by_the_seed_with_its_own_vocabulary() -> None:
    whole, half, quarter = (synthetic(fraction=fraction, seed=1) for fraction in (1.0, 0.5, 0.25))
    assert [len(data.pairs("train")) for data in (whole, half, quarter)] == [200, 100, 50]
    assert set(quarter.pairs("train")) < set(half.pairs("train")) < set(whole.pairs("train"))
    assert half.pairs("val") == whole.pairs("val")
    assert set(synthetic(fraction=0.5, seed=2).pairs("train")) != set(half.pairs("train"))
    assert len(synthetic(fraction=0.01).source_vocabulary) < len(whole.source_vocabulary)
    assert half.describe()["sizes"]["train"] == 100
    for batch in half.train_dataloader():
        for number, position in enumerate(batch.index.tolist()):
            target = [SOS, *half.target_vocabulary.encode(half.pairs("train")[position].target), EOS]
            assert batch.target[number, : len(target)].tolist() == target


def test_training_depends_on_seed_and_epoch_and_evaluation_on_neither() -> None:
    order = {seed: [b.index.tolist() for b in synthetic(seed=seed).train_dataloader()] for seed in (0, 1)}
    assert order[0] != order[1]
    assert order[0] == [b.index.tolist() for b in synthetic(seed=0).train_dataloader()]
    first, second = ([b.index.tolist() for b in synthetic(seed=s).test_dataloader()] for s in (0, 1))
    assert first == second


# --- without files ---------------------------------------------------------------------------------------------------


def test_without_files_words_are_invented_and_a_notice_says_so(tmp_path: Path) -> None:
    names = {"train": "p2g/train.tsv", "val": "p2g/valid.tsv", "test": "p2g/test.tsv"}
    data = module(tmp_path, **names, synthetic_sizes=SIZES)
    with pytest.warns(SyntheticDataNotice, match=r"no p2g pairs in .*synthetic.*python -m dlbench data fetch p2g"):
        facts = data.describe()
    assert (facts["source"], facts["provenance"], facts["files"]) == ("synthetic", "synthetic", {})
    assert facts["sizes"] == dict(zip(("train", "val", "test"), SIZES, strict=True))
    asked = module(tmp_path, source="synthetic", synthetic_sizes=SIZES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asked.describe()["fingerprint"] == facts["fingerprint"]


def test_files_that_were_asked_for_and_are_not_there_are_an_error(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match=r"no other pairs in .*looked for .*other/train\.tsv"):
        module(
            folder, source="files", **{name: path.replace("toy", "other") for name, path in FILES.items()}
        ).describe()
    (folder / FILES["val"]).unlink()
    with pytest.raises(DataError, match=r"toy/val\.tsv: no such file"):
        module(folder).describe()  # some are there: no silent stand-in
    with pytest.raises(DataError, match="no such data folder"):
        module(tmp_path / "nowhere").describe()


# --- configurations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SECTIONS)
def test_every_configuration_fits_and_names_registered_files(compose: Compose, name: str) -> None:
    node = config(compose, f"data={name}")
    _check_section("data", node)
    data = build("data", node | {"source": "synthetic", "synthetic_sizes": list(SIZES)}, seed=1)
    assert len(data.pairs("train")) == 200
    registered = {file.path for data_set in REGISTRY.values() for file in data_set.files}
    assert set(data.files.paths()) <= registered
    assert data.files.name in REGISTRY


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.fraction=0", r"data\.fraction=0: .*greater than 0"),
        ("data.fraction=1.5", r"data\.fraction=1\.5: .*less than or equal to 1"),
        ("data.noise=-0.1", r"data\.noise=-0\.1"),
        ("data.bucket_batches=0", r"data\.bucket_batches=0"),
        ("data.format=csv", r"data\.format='csv'"),
        ("+data.holdout=[1]", r"data\.holdout=\[1\]: Value should have at least 2 items"),
        ("+data.holdout=[0,1]", r"data\.holdout\[0\]=0: Input should be greater than 0"),
        ("data.test=null", "data: name both files, val and test"),
        ("+data.holdout=[1,2]", "data: give either the files val and test or holdout"),
        ("+data.stress=true", "data: stress goes with format=cmudict"),
    ],
)
def test_bad_settings_are_named(compose: Compose, override: str, message: str) -> None:
    node = config(compose, "data=p2g", override)
    with pytest.raises(ConfigError, match=message):
        _check_section("data", node)
        build("data", node)


# --- the real files --------------------------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "sizes", "train"),
    [("p2g", (107, 93), 10_000), ("spa_eng", (34, 34), 10_483), ("sigmorphon", (128, 30), 33_344)],
)
def test_real_vocabularies(
    compose: Compose, real_data_folder: Path, name: str, sizes: tuple[int, int], train: int
) -> None:
    data = build("data", config(compose, f"data={name}"), folder=str(real_data_folder), seed=42)
    facts = data.describe()
    assert tuple(facts["vocabulary_sizes"].values()) == sizes
    assert (facts["provenance"], facts["sizes"]["train"]) == ("verified", train)


@pytest.mark.real_data
def test_a_few_symbols_of_p2g_are_unknown(compose: Compose, real_data_folder: Path) -> None:
    data = build("data", config(compose, "data=p2g"), folder=str(real_data_folder), seed=42)
    assert data.describe()["unknown"] == {
        "val": {"source": {"pʰ": 1}, "target": {"î": 1}},
        "test": {"source": {"ɬ": 1, "ʉ": 1}, "target": {"Ó": 1, "á": 1, "ð": 1}},
    }
