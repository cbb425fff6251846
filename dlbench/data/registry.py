"""Every data set of the suite: what its files are, under which terms it is shared, and how it is had.

Sizes and SHA-256 are those of the files the suite was developed with; where a publisher states only an MD5 and the
file was not at hand, that MD5 stands here instead.
"""

from dataclasses import dataclass
from pathlib import Path

from dlbench.errors import DataError
from dlbench.terminal import nearest

INTEL_NPZ = "intel_landscapes.npz"
_CMUDICT = "https://raw.githubusercontent.com/cmusphinx/cmudict/74790861f652b15e4ac49015a90074ad62a27690"
_KMNIST = "https://codh.rois.ac.jp/kmnist/dataset/kmnist"
_SIGMORPHON = "https://raw.githubusercontent.com/sigmorphon/2021-task1"
_WIKIPRON_PAPER = (
    "J. L. Lee, L. F. E. Ashby, M. E. Garza, Y. Lee-Sikka, S. Miller, A. Wong, A. D. McCarthy, K. Gorman (2020): "
    "Massively multilingual pronunciation mining with WikiPron. LREC, 4223-4228."
)


@dataclass(frozen=True)
class File:
    """One file: ``path`` below the data folder, its size in bytes and its hash (``sha256`` or else ``md5``).

    ``url`` is where exactly this file can be downloaded; ``also`` are further places below the data folder where it
    is looked for.
    """

    path: str
    size: int | None
    sha256: str | None = None
    md5: str | None = None
    url: str | None = None
    also: tuple[str, ...] = ()

    @property
    def algorithm(self) -> str:
        """The name of the hash that is known."""
        return "sha256" if self.sha256 else "md5"

    @property
    def known_hash(self) -> str:
        """The known hash in hexadecimal."""
        return self.sha256 or self.md5 or ""


@dataclass(frozen=True)
class Folder:
    """A folder of many files without a hash each: ``path`` below the data folder, ``count`` files like ``pattern``."""

    path: str
    pattern: str
    count: int


@dataclass(frozen=True)
class Archive:
    """A tar archive to be unpacked: what it holds in its folder ``root`` belongs in ``target`` of the data folder."""

    url: str
    size: int
    sha256: str
    root: str
    target: str


@dataclass(frozen=True)
class DataSet:
    """A data set: what it is, its terms, its parts, and how it is fetched.

    One way is taken, in this order: ``instead`` (another set that serves as well), ``archive``, ``kaggle`` (a Kaggle
    handle), the URLs of the files. ``manual`` says in a sentence where people find it, for sets that nothing can
    fetch and for machines without a network.
    """

    name: str
    title: str
    description: str
    licence: str
    citation: str
    manual: str
    files: tuple[File, ...] = ()
    folders: tuple[Folder, ...] = ()
    archive: Archive | None = None
    kaggle: str | None = None
    instead: str | None = None

    @property
    def size(self) -> int | None:
        """All files together in bytes, or ``None`` if that is not known."""
        sizes = [file.size for file in self.files]
        return sum(size or 0 for size in sizes) if sizes and None not in sizes and not self.folders else None

    @property
    def source(self) -> str:
        """How the set is fetched: ``instead``, ``archive``, ``kaggle``, ``url`` or ``manual``."""
        for way in ("instead", "archive", "kaggle"):
            if getattr(self, way):
                return way
        return "url" if self.files and all(file.url for file in self.files) else "manual"


_ALL = (
    DataSet(
        name="intel",
        title="Intel scenes, 48x48",
        description="17,034 natural scenes in six classes at 48x48, split 12,630/1,404/3,000, in one npz file",
        licence="none stated",
        citation="Intel Image Classification, Kaggle, puneet6060/intel-image-classification.",
        manual="the file is made from the official pictures, which the suite reads just as well: fetch intel_folder",
        instead="intel_folder",
        files=(
            File(
                f"intel/{INTEL_NPZ}",
                102_496_189,
                "67d6f63e5eba789677ca945ca10489a39ebfa1c1a896ac184046aa56f392a5a1",
                also=(INTEL_NPZ,),
            ),
        ),
    ),
    DataSet(
        name="intel_folder",
        title="Intel scenes, official pictures",
        description="14,034 training and 3,000 test pictures of 150x150 in the official folders seg_train and seg_test",
        licence="none stated",
        citation="Intel Image Classification, Kaggle, puneet6060/intel-image-classification.",
        manual="download https://www.kaggle.com/datasets/puneet6060/intel-image-classification and unpack it",
        folders=(
            Folder("intel_folder/seg_train", "*/*.jpg", 14_034),
            Folder("intel_folder/seg_test", "*/*.jpg", 3_000),
        ),
        kaggle="puneet6060/intel-image-classification",
    ),
    DataSet(
        name="p2g",
        title="Phoneme-to-grapheme, US English",
        description="10,000/1,000/1,000 pairs of IPA segments and spelling, drawn from WikiPron US broad",
        licence="Wiktionary terms (CC BY-SA)",
        citation=_WIKIPRON_PAPER,
        manual="the split was handed out with the coursework and is not published; ask its course for the three files",
        files=(
            File("p2g/train.tsv", 266_320, "c8bae375a8abe7274a6823444c37ce64e78b3520bd652d82a20d40506a5bb1a2"),
            File("p2g/valid.tsv", 26_320, "3f69895ebb1ea3dc06de43bb81dd00bb1078817207a2d83f378544e5b57fe8c6"),
            File("p2g/test.tsv", 26_566, "d62cc3dbfc876cec843ee32f6d2b6ec5da1fde7b84e7a512706245e85c168fae"),
        ),
    ),
    DataSet(
        name="translit_spa_eng",
        title="Character-level translation, Spanish to English",
        description="10,483/1,000/1,000 short normalised sentence pairs",
        licence="none stated",
        citation="none stated",
        manual="the split was handed out with the coursework and is not published; ask its course for the three files",
        files=(
            File(
                "translit_spa_eng/train-eng-spa.txt",
                375_161,
                "22e139492d80fbe3f1db9c0e83246c940b57fd577a339dc7e86ea2f4b39bb1a7",
            ),
            File(
                "translit_spa_eng/val-eng-spa.txt",
                35_986,
                "ec360c803bac81c6a8c0de9990d09d2d0e6f8a4476b44525d17c098c3029e6cb",
            ),
            File(
                "translit_spa_eng/test-eng-spa.txt",
                35_851,
                "0ec54d96d572fcb920b8d52fa8a985f1fa144f99b07859508d58c4ac20eb8a52",
            ),
        ),
    ),
    DataSet(
        name="kmnist",
        title="Kuzushiji-MNIST",
        description="60,000 training and 10,000 test pictures of cursive Japanese characters, 28x28 grey, ten classes",
        licence="CC BY-SA 4.0",
        citation="T. Clanuwat, M. Bober-Irizar, A. Kitamoto, A. Lamb, K. Yamamoto, D. Ha (2018): Deep Learning for "
        "Classical Japanese Literature. arXiv:1812.01718.",
        manual="download the four gzip files from https://github.com/rois-codh/kmnist (Kuzushiji-MNIST, IDX format)",
        files=(
            File(
                "kmnist/train-images-idx3-ubyte.gz",
                18_165_135,
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
                "bdb82020997e1d708af4cf47b453dcf7",
                f"{_KMNIST}/train-images-idx3-ubyte.gz",
                also=("KMNIST/raw/train-images-idx3-ubyte.gz",),
            ),
            File(
                "kmnist/train-labels-idx1-ubyte.gz",
                29_497,
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
                "e144d726b3acfaa3e44228e80efcd344",
                f"{_KMNIST}/train-labels-idx1-ubyte.gz",
                also=("KMNIST/raw/train-labels-idx1-ubyte.gz",),
            ),
            File(
                "kmnist/t10k-images-idx3-ubyte.gz",
                3_041_136,
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
                "5c965bf0a639b31b8f53240b1b52f4d7",
                f"{_KMNIST}/t10k-images-idx3-ubyte.gz",
                also=("KMNIST/raw/t10k-images-idx3-ubyte.gz",),
            ),
            File(
                "kmnist/t10k-labels-idx1-ubyte.gz",
                5_120,
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
                "7320c461ea6c1c855c0b718fb2a4b134",
                f"{_KMNIST}/t10k-labels-idx1-ubyte.gz",
                also=("KMNIST/raw/t10k-labels-idx1-ubyte.gz",),
            ),
        ),
    ),
    DataSet(
        name="octmnist",
        title="OctMNIST",
        description="109,309 retinal OCT pictures, 28x28 grey, four classes, split 97,477/10,832/1,000",
        licence="CC BY 4.0",
        citation="J. Yang, R. Shi, D. Wei, Z. Liu, L. Zhao, B. Ke, H. Pfister, B. Ni (2023): MedMNIST v2. "
        "Scientific Data 10, 41.",
        manual="download octmnist.npz from https://zenodo.org/records/10519652",
        files=(
            File(
                "octmnist/octmnist.npz",
                None,
                md5="c68d92d5b585d8d81f7112f81e2d0842",
                url="https://zenodo.org/records/10519652/files/octmnist.npz?download=1",
                also=("octmnist.npz",),
            ),
        ),
    ),
    DataSet(
        name="ljspeech",
        title="LJSpeech 1.1",
        description="13,100 clips of one speaker reading, about 24 hours at 22.05 kHz, with transcripts",
        licence="public domain",
        citation="K. Ito, L. Johnson (2017): The LJ Speech Dataset. https://keithito.com/LJ-Speech-Dataset/",
        manual="download https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2 and unpack it",
        files=(
            File(
                "ljspeech/metadata.csv", 2_767_490, "852bce5c79e5184ba5bf2ea98aad4bcf49a5d787def5fd1f04fa2ab8aa6dc535"
            ),
            File("ljspeech/README", 4_486, "bb2dae67dc465e830032fb5cfa5632a6cd69ba33395a6be57c3c59b4e6bd9386"),
        ),
        folders=(Folder("ljspeech/wavs", "*.wav", 13_100),),
        archive=Archive(
            "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
            2_748_572_632,
            "be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
            root="LJSpeech-1.1",
            target="ljspeech",
        ),
    ),
    DataSet(
        name="cmudict",
        title="CMU Pronouncing Dictionary",
        description="135,166 North American pronunciations in ARPABET",
        licence="BSD-2-Clause",
        citation="Carnegie Mellon University (1993-2015): The CMU Pronouncing Dictionary. "
        "https://github.com/cmusphinx/cmudict",
        manual="download cmudict.dict and LICENSE from https://github.com/cmusphinx/cmudict",
        files=(
            File(
                "cmudict/cmudict.dict",
                3_618_488,
                "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
                url=f"{_CMUDICT}/cmudict.dict",
            ),
            File(
                "cmudict/LICENSE",
                1_754,
                "bd4ce8e44170a5f9f481310ca85c51de3c4f851a65e679b40e603b143bd3542a",
                url=f"{_CMUDICT}/LICENSE",
            ),
        ),
    ),
    DataSet(
        name="wikipron",
        title="WikiPron, US English broad",
        description="81,323 words with their broad IPA segments, mined from Wiktionary",
        licence="Wiktionary terms (CC BY-SA)",
        citation=_WIKIPRON_PAPER,
        manual="take data/scrape/tsv/eng_latn_us_broad.tsv from https://github.com/CUNY-CL/wikipron, in the revision "
        "with 81,323 rows",
        files=(
            File(
                "wikipron/eng_latn_us_broad.tsv",
                2_157_565,
                "dacb3999c770e52a59a2700153322f66389eed00769bfff166010c9313eb28ef",
            ),
        ),
    ),
    DataSet(
        name="sigmorphon2021_eng_us",
        title="SIGMORPHON 2021 task 1, US English",
        description="33,344/4,168/4,168 words with their IPA segments: the high-resource grapheme-to-phoneme subtask",
        licence="CC BY-SA 3.0",
        citation="L. F. E. Ashby et al. (2021): Results of the Second SIGMORPHON Shared Task on Multilingual "
        "Grapheme-to-Phoneme Conversion. doi:10.18653/v1/2021.sigmorphon-1.13",
        manual="take data/high/eng_us_{train,dev,test}.tsv from https://github.com/sigmorphon/2021-task1",
        files=(
            File(
                "sigmorphon2021_eng_us/eng_us_train.tsv",
                855_780,
                "bbe76f57ee799ef9094b1ed1fecf8861e754ac57c6aa4db7d5b18892c5401f7f",
                url=f"{_SIGMORPHON}/b025f4ee7ece536f674e83a92c4cd2bbf96e0bba/data/high/eng_us_train.tsv",
            ),
            File(
                "sigmorphon2021_eng_us/eng_us_dev.tsv",
                107_622,
                "dcce99504c5f8a00ebf13499aa4d4c2b7fc37614b65127c98aa871855e77080e",
                url=f"{_SIGMORPHON}/ee8c46bc8f343cf630682d17f9b95063f9560d7b/data/high/eng_us_dev.tsv",
            ),
            File(
                "sigmorphon2021_eng_us/eng_us_test.tsv",
                107_213,
                "726192932a69a7197348ee64898613e94968234ce426cfc67d984baf5ddd317c",
                url=f"{_SIGMORPHON}/536f266999bbcb953b08772ddf360bc424c84e64/data/high/eng_us_test.tsv",
            ),
        ),
    ),
)

REGISTRY: dict[str, DataSet] = {data_set.name: data_set for data_set in _ALL}


def get(name: str) -> DataSet:
    """The data set of that name.

    Raises:
        DataError: no set is called so; the message offers the nearest names.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    raise DataError(f"{name}: no such data set; {nearest(name, REGISTRY)}")


def locate(file: File, folder: Path) -> Path | None:
    """The first of a registered file's places that exists below the data folder."""
    return next((folder / place for place in (file.path, *file.also) if (folder / place).is_file()), None)


def is_known(sha256: str) -> bool:
    """Whether a registered file has this SHA-256."""
    return any(file.sha256 == sha256 for data_set in REGISTRY.values() for file in data_set.files)
