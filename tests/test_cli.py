"""``python -m dlbench`` as people use it: what it prints, what it leaves behind, and how it says no."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image
from processes import python

from dlbench import cli, commands, paths
from dlbench.__main__ import main
from dlbench.commands.run import put_right
from dlbench.data.intel_files import CLASSES
from dlbench.errors import ConfigError, DataError
from dlbench.files import kept
from dlbench.help import WITH_PLUS

TINY = (
    "data.source=synthetic",
    "data.synthetic_sizes=[48,24,24]",
    "trainer.epochs=1",
    "trainer.device=cpu",
    "evaluation.max_shift=1",
)
ANNOUNCED = re.compile(r"^(\w+, seed \S+: preparing|(data|settings|training|record) {2,}.*)\n", re.MULTILINE)
"""What a run says of itself before anything is done."""
Refused = Callable[..., str]
Finished = subprocess.CompletedProcess[str]


def environment() -> dict[str, str]:
    """This process's, without what points to folders elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("DLBENCH_", "HYDRA_"))}


def cold(*arguments: str, folder: Path) -> Finished:
    """A process that imports all that it needs itself."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


def dlbench(*arguments: str, folder: Path) -> Finished:
    return python("-m", "dlbench", *arguments, folder=folder, environment=environment())


# --- a run -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def started_twice(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The same command twice where there is no data; the second time, drawn pictures are asked for."""
    folder = tmp_path_factory.mktemp("cli")
    command = ("+experiment=cnn_bn_gap", *TINY)
    first = cold("-m", "dlbench", *command, "data.source=auto", folder=folder)
    left = sorted(path.name for path in folder.iterdir())
    return SimpleNamespace(folder=folder, first=first, left=left, second=dlbench(*command, folder=folder))


def test_a_run_ends_well_and_prints_a_plain_line_an_epoch(started_twice: SimpleNamespace) -> None:
    first = started_twice.first
    assert first.returncode == 0, first.stderr
    (line,) = [line for line in first.stdout.splitlines() if line.startswith("epoch ")]
    assert line.startswith("epoch 1/1  val/accuracy 0.")
    assert line.endswith(" s an epoch")
    assert "\x1b" not in first.stdout
    assert "\r" not in first.stdout


def test_a_run_prints_its_metrics_whose_they_are_and_where_they_lie(started_twice: SimpleNamespace) -> None:
    lines = started_twice.first.stdout.splitlines()
    assert lines[0] == "cnn_bn_gap, seed 42: preparing"
    told = dict(line.split(maxsplit=1) for line in lines[1:5])
    assert told["data"].startswith("SYNTHETIC data: ")
    assert told["settings"].startswith("lr=0.01 layout=chw ")
    assert told["training"] == "1 epoch on cpu, 1 thread"
    assert re.match(r"runs/\w{12} \(new", told["record"])
    assert max(map(len, lines)) <= 90
    assert "cnn_bn_gap on SYNTHETIC data: finished" in lines
    assert not [line for line in lines if "published" in line]  # nothing that was published is of synthetic data
    table = dict(cells for line in lines if len(cells := line.split()) == 2 and "/" in cells[0])
    assert table["model/parameters"] == "755,718"
    assert 0 <= float(table["test/accuracy"]) <= 1
    record = lines[-1].removeprefix("record: ")
    assert re.fullmatch(rf"all \d+ metrics: python -m dlbench records show {Path(record).name}", lines[-3])
    assert lines[-2] == "curves: python -m dlbench tensorboard"
    assert (started_twice.folder / record / "training.json").is_file()


def test_without_data_one_notice_names_the_command_that_gets_it(started_twice: SimpleNamespace) -> None:
    (notice,) = started_twice.first.stderr.splitlines()
    assert notice.startswith("dlbench: no Intel pictures in data: ")
    assert "synthetic scenes" in notice
    assert "python -m dlbench data fetch intel" in notice


def test_a_run_leaves_nothing_behind_but_its_record(started_twice: SimpleNamespace) -> None:
    assert started_twice.left == ["runs"]
    records = [path.name for path in (started_twice.folder / "runs").iterdir() if not path.name.startswith(".")]
    assert records == [Path(started_twice.first.stdout.splitlines()[-1]).name]


def test_a_finished_run_is_looked_up_and_not_trained_again(started_twice: SimpleNamespace) -> None:
    first, second = started_twice.first, started_twice.second
    assert (second.returncode, second.stderr) == (0, "")
    assert not [line for line in second.stdout.splitlines() if line.startswith("epoch ")]
    assert "(finished already)" in second.stdout
    assert "looked up; it was trained in " in second.stdout
    metrics = [[line for line in each.stdout.splitlines() if line.startswith("  ")] for each in (first, second)]
    assert metrics[0] == metrics[1]


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        ("--help", []),
        ("--version", []),
        ("+experiment=cnn_vanilla --cfg job", ["hydra", "omegaconf"]),
        ("+experiment=nonsense", ["hydra", "omegaconf"]),
        ("records list", ["hydra", "omegaconf"]),
        ("data list", ["hydra", "omegaconf"]),
        ("report --help", ["hydra", "omegaconf"]),
        ("predict --help", ["hydra", "omegaconf"]),
    ],
)
def test_what_computes_nothing_waits_for_no_library_that_it_does_not_need(
    command: str, needs: list[str], tmp_path: Path
) -> None:
    script = (
        f"import runpy, sys; sys.argv = ['x', *{command.split()}]\n"
        f"try: runpy.run_module('dlbench', run_name='__main__', alter_sys=True)\n"
        "finally: print(sorted({'hydra', 'omegaconf', 'torch'} & sys.modules.keys()))"
    )
    done = cold("-c", script, folder=tmp_path)
    assert done.stdout.splitlines()[-1] == str(needs), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("encoding", "word"), [("ascii", rb"k \xe6 t"), ("cp1252", b"k \xe6 t"), ("utf-8", "k æ t".encode())]
)
def test_what_a_terminal_cannot_show_is_escaped(encoding: str, word: bytes) -> None:
    command = [sys.executable, "-m", "dlbench", "--help"]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}, check=True)
    assert word in done.stdout


@pytest.mark.parametrize(
    "command", ["--help", "--version", "records list --json", "records list", "data list --json", "--info all"]
)
def test_who_reads_no_further_gets_no_error(command: str) -> None:
    words = [sys.executable, "-m", "dlbench", *command.split()]
    environment = {**os.environ, "DLBENCH_RUNS": str(paths.experiments() / "results")}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (141, 1, 0)  # rich, which prints tables, ends with 1; Hydra, which logs them, with 0


@pytest.mark.parametrize("command", ["--help", "--version", "records list"])
def test_an_output_that_is_full_is_a_line_and_one_that_is_closed_is_none(command: str, tmp_path: Path) -> None:
    words = shlex.join([sys.executable, "-m", "dlbench", *command.split()])
    for where, code, said in (
        (">/dev/full", 1, r"dlbench: cannot .*: No space left on device; make room .*\n"),
        (">&-", 0, ""),
    ):
        done = subprocess.run(f"{words} {where}", shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (code, "")
        assert re.fullmatch(said, done.stderr)


OF_CTRL_C = RuntimeError("Error calling __set_name__")
"""What Python makes of a Ctrl-C that comes while a class is made."""
OF_CTRL_C.__cause__ = KeyboardInterrupt()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OF_CTRL_C])
@pytest.mark.parametrize("words", [["records", "list"], ["+experiment=cnn_bn_gap"], ["--version"]])
def test_ctrl_c_while_modules_are_imported_is_a_line(
    words: list[str], error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> int:
        raise error

    monkeypatch.setattr("dlbench.commands.call", interrupted)
    monkeypatch.setattr("dlbench.commands.run.compose_and_run", interrupted)
    monkeypatch.setattr("importlib.metadata.version", interrupted)
    assert main(words) == 130
    assert capsys.readouterr().err == "dlbench: interrupted\n"


def test_a_ctrl_c_that_comes_in_a_destructor_comes_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Deaf:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    def import_much(*_: object) -> int:
        Deaf()
        time.sleep(30)
        return 0

    monkeypatch.setattr("dlbench.commands.call", import_much)
    before = sys.unraisablehook
    assert main(["records", "list"]) == 130
    assert capsys.readouterr().err == "dlbench: interrupted\n"
    assert sys.unraisablehook is before


@pytest.mark.parametrize("words", [["+experiment=cnn_bn_gap", "paths.runs=~/x"], ["records", "list", "--runs", "~/x"]])
def test_without_a_home_what_needs_one_is_named(
    words: list[str], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError()))
    monkeypatch.setattr(sys, "argv", ["dlbench", *words])
    try:
        code = main()
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "dlbench: ~/x: no such home folder is known; set HOME, or name it in full"
    with pytest.raises(DataError, match="set HOME, or DLBENCH_CACHE to a folder for derived files"):
        paths.cache_folder()
    assert kept(abs, -3, code="c") == 3  # what would be kept is computed


# --- saying no -------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no variable that points elsewhere."""
    for name in ("DLBENCH_DATA", "DLBENCH_RUNS", "DLBENCH_CACHE", "DLBENCH_VERBOSE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # set by the command; put back by the end of the test
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def refused(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Give a command line that must fail: the one line it prints, after seeing that it leaves no record."""

    def message(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["dlbench", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        assert exit_.value.code == 1
        assert ANNOUNCED.sub("", out) == ""
        assert len(err.splitlines()) == 1, err
        assert err.startswith("dlbench: ")
        assert {path.name for path in here.glob("runs/*")} <= {".locks", ".sweep"}
        assert {path.name for path in here.iterdir()} <= {"runs"}
        return err

    return message


def test_an_error_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = dlbench("+experiment=cnn_vanilla", "optimizer.lr=0", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "cnn_vanilla, seed 42: preparing\n")
    assert done.stderr == "dlbench: optimizer.lr=0: Input should be greater than 0\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "last"),
    [
        ("optimizer.lr=0", "dlbench.errors.ConfigError: optimizer.lr=0: Input should be greater than 0"),
        ("optimizer.lrr=1", "hydra.errors.ConfigCompositionException: Could not override 'optimizer.lrr'."),
    ],
)
def test_a_traceback_is_shown_on_request(override: str, last: str, tmp_path: Path) -> None:
    done = dlbench("+experiment=cnn_vanilla", override, "verbose=true", folder=tmp_path)
    assert done.returncode == 1
    assert "Traceback (most recent call last):" in done.stderr
    assert last in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--foo"], "--foo: no such flag; did you mean "),
        (["--experiment", "cnn_bn_gap"], "--experiment: no such flag; did you mean +experiment=NAME?"),
        (["--experiment=cnn_bn_gap"], "--experiment=cnn_bn_gap: no such flag; did you mean +experiment=NAME?"),
        (["+experiment=cnn_bn_gap", "--multrun"], "--multrun: no such flag; did you mean --multirun"),
        (["run", "-x"], "-x: no such flag; "),
    ],
)
def test_a_wrong_flag_is_exit_code_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"dlbench: {said}")


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("experiment=cnn_bn_gap", "+experiment=cnn_bn_gap"),
        ("sweep=intel_lr", "+sweep=intel_lr"),
        ("profile=quick", "+profile=quick"),
        ("+experiment=cnn_bn_gap", "+experiment=cnn_bn_gap"),
        ("model=cnn", "model=cnn"),
        ("paths.runs=~/x", 'paths.runs="~/x"'),
        ("paths.runs=/a/\u00e4 b", 'paths.runs="/a/\u00e4 b"'),
        ("paths.runs='~/x'", "paths.runs='~/x'"),
        ("~model", "~model"),
        ("model.hidden=[1,2]", "model.hidden=[1,2]"),
    ],
)
def test_a_plain_word_is_put_right(word: str, right: str) -> None:
    flag = ["-m"] if right.startswith("+sweep=") else []
    assert put_right([word]) == put_right(put_right([word])) == [right, *flag]
    assert put_right(["--config-dir", word, "-m"]) == ["--config-dir", word, "-m"]  # a flag's value stays


@pytest.mark.parametrize("sweep", [["-m"], ["--multirun"], ["+sweep=intel_lr"], ["hydra.mode=MULTIRUN"]])
@pytest.mark.parametrize("word", ["seed=1,2", "seed=range(1,3)", "optimizer.lr=0,001", "model=cnn,lenet"])
def test_several_values_are_for_a_sweep(sweep: list[str], word: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{word}: is several values; add -m")):
        put_right([word])
    flag = [] if sweep[0] in ("-m", "--multirun") else ["-m"]
    assert put_right([*sweep, word]) == [*sweep, word, *flag]
    own = ["--config-dir", "mine", word]  # which may make a sweep of it themselves
    assert put_right(own) == own


def test_a_sweep_is_one_without_its_plus() -> None:
    assert put_right(["sweep=p2g", "model.size=64"]) == ["+sweep=p2g", "model.size=choice(64)", "-m"]


@pytest.mark.parametrize("single", ["hydra.mode=RUN", "++hydra.mode=RUN", "hydra.mode='RUN'"])
def test_a_single_run_that_is_asked_for_is_no_sweep(single: str) -> None:
    assert put_right(["+sweep=p2g", single, "model.size=64"]) == ["+sweep=p2g", single, "model.size=64"]
    # The flag comes before the mode, as for Hydra.
    assert put_right(["-m", single, "model.size=64"]) == ["-m", single, "model.size=choice(64)"]
    assert put_right(["+sweep=p2g", "hydra.mode=MULTIRUN", single]) == ["+sweep=p2g", "hydra.mode=MULTIRUN", single]


def test_hydras_flag_of_a_single_run_does_not_undo_a_named_sweep() -> None:
    for flag in ("-r", "--run"):
        assert put_right(["+sweep=p2g", flag, "model.size=64"]) == ["+sweep=p2g", flag, "model.size=choice(64)"]
        assert put_right(["+experiment=p2g_lstm", flag]) == ["+experiment=p2g_lstm", flag]


@pytest.mark.parametrize("sweep", ["+sweep=p2g", "sweep=p2g", "+search=p2g_tpe", "hydra.mode=MULTIRUN"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.size=16", "data=nope"], "data=nope: no such data; "),
        (["model.size=16", "trainer.epoch=3"], "trainer.epoch: no such key; did you mean trainer.epochs"),
        (["model.size=16", "~nope"], "'nope' does not exist"),
        (["model/attention=dot", "+decoding=nope"], "decoding=nope: no such decoding; "),
    ],
)
def test_what_is_wrong_beside_a_sweeps_value_is_named(
    sweep: str, words: list[str], said: str, refused: Refused
) -> None:
    assert said in refused(sweep, "+experiment=p2g_attention", *words)


@pytest.mark.parametrize("sweep", ["-m", "--multirun", "+sweep=p2g", "+search=p2g_tpe", "hydra.mode=MULTIRUN"])
@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("model.size=64", "model.size=choice(64)"),
        ("model/attention=dot", "model/attention=choice(dot)"),
        ("data.sizes=[1,{a: 2}]", "data.sizes=choice([1,{a:2}])"),
        ("data.train='x, y'", "data.train=choice('x, y')"),
        ("model/attention@model.other=dot", "model/attention@model.other=choice(dot)"),
        ("model@other=cnn", "model@other=choice(cnn)"),
        # What is no choice, or would be another one.
        ("data.train=/a/\u00e4 b", 'data.train="/a/\u00e4 b"'),
        *((word, word) for word in ("scheduler.last=null", "data.train=", "model.size=${seed}", "model.size='64'")),
        *((word, word) for word in ("seed=1", "model=cnn", "++model.size=1", "~model.size", "model.size=1,2")),
        *((word, word) for word in ("trainer.threads=2", "paths.runs=x", "hydra.launcher.n_jobs=1")),
        ("hydra/launcher=ray", "hydra/launcher=ray"),
    ],
)
def test_what_a_sweep_sets_is_looked_for_in_each_run(sweep: str, word: str, right: str) -> None:
    flag = [] if sweep in ("-m", "--multirun") else ["-m"]
    assert put_right([sweep, word]) == put_right([sweep, right]) == [sweep, right, *flag]
    (alone,) = put_right([word, "--cfg", "job", sweep])[:1]  # which shows the configuration as it stands
    assert alone.replace('"', "") == word
    parse = OverridesParser.create().parse_override
    if right.endswith(")"):
        (value,) = parse(right).sweep_string_iterator()
        assert parse(f"key={value}").value() == parse(alone).value()


@pytest.mark.parametrize("word", ["data.train=a,b", "data.train=it's", "data.train=[a", "data.train=a:b:c,"])
def test_what_is_told_to_be_typed_can_be(word: str) -> None:
    with pytest.raises(ConfigError) as error:
        put_right([word])
    (typed,) = shlex.split(str(error.value).rpartition(": ")[2])
    assert put_right([typed]) == [typed]
    value = OverridesParser.create().parse_override(typed).value()
    assert value == word.partition("=")[2]


def test_a_group_that_an_own_configuration_may_choose_gets_no_plus() -> None:
    for own in (["--config-name=mine"], ["-cn", "mine"]):
        for word in ("profile=quick", "experiment=cnn_bn_gap"):
            assert put_right([*own, word]) == [*own, word]
    own = ["--config-dir", "mine"]
    assert put_right([*own, "profile=quick"]) == [*own, "profile=quick"]
    assert put_right([*own, "experiment=x"]) == [*own, "+experiment=x"]  # of which ours chooses none


def test_what_may_follow_info_is_no_override() -> None:
    assert put_right(["--info", "defaults", "seed=1"]) == ["--info", "defaults", "seed=1"]
    assert put_right(["-i", "seed=1"]) == ["-i", "seed=1"]


CHOOSES = b"defaults:\n  - override /model: cnn\nname: x\n"
OWN = {
    "bom.yaml": (
        b"\xef\xbb\xbf# @package _global_\ndefaults:\n  - override /model: cnn\nname: x\n",
        "'# @package _global_'",
    ),
    "bare.yaml": (b"defaults:\n  - override /model: cnn\nname: x\n", "'# @package _global_'"),
    "nameless.yaml": (b"name: x\n", "gives no name; its file begins with the line '# @package _global_'"),
    "tab.yaml": (b"# @package _global_\na:\n\t- b\n", "tab.yaml:3: no YAML (found character '\\t'"),
    "broken.yaml": (b"# @package _global_\nname: [x\n", "broken.yaml:3: no YAML (expected ',' or ']'"),
    "latin.yaml": (b"# @package _global_\nname: caf\xe9\n", "latin.yaml: not UTF-8 (byte 29)"),
    "twice.yaml": (b"# @package _global_\nname: x\nname: y\n", "twice.yaml:3: no YAML (found duplicate key name)"),
    "list.yaml": (b"# @package _global_\n- a\n", "Cannot merge DictConfig with ListConfig"),
    "nul.yaml": (b"# @package _global_\nname: \0\n", "no YAML: unacceptable character #x0000"),
    "deep.yaml": (b"# @package _global_\na: " + b"[" * 5000 + b"]" * 5000, "deep.yaml:2: is nested deeper than 32"),
    "within.yaml": (b"# @package _global_\na: &a [*a]\n", "within.yaml:2: *a stands in what it names"),
    "bomb.yaml": (
        b"a: &a0 [x]\n"
        + b"".join(b"b%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 9)),
        "bomb.yaml:6: aliases make more than 100,000 values of it",
    ),
    "number.yaml": (b"# @package _global_\nseed: " + b"9" * 5000, "number.yaml: cannot be read (Exceeds the limit"),
    "default.yaml": (
        b"# @package _global_\ndefaults:\n  - override /modle: cnn\nname: x\n",
        "In 'experiment/default': modle: no such key; did you mean model?",
    ),
    "defaults.yaml": (b"# @package _global_\ndefaults: 3\nname: x\n", "defaults must be a list (got int)"),
}
"""An own experiment's file, and what is said of it."""


@pytest.mark.parametrize("name", OWN)
def test_a_faulty_file_of_an_own_experiment_is_named(name: str, refused: Refused, tmp_path: Path) -> None:
    folder = tmp_path / "own" / "experiment"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(OWN[name][0])
    line = refused("--config-dir", str(folder.parent), f"+experiment={Path(name).stem}")
    assert OWN[name][1] in line
    assert Path(name).stem in line


def test_a_bomb_that_an_own_file_chooses_is_named_too(refused: Refused, tmp_path: Path) -> None:
    for name, content in (("model/big.yaml", OWN["bomb.yaml"][0]), ("experiment/mine.yaml", CHOOSES)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content.replace(b"/model: cnn", b"/model: big"))
    assert "big.yaml:6: aliases make more" in refused("--config-dir", str(tmp_path), "+experiment=mine")


def test_an_own_experiment_is_among_those_that_may_have_been_meant(refused: Refused, tmp_path: Path) -> None:
    folder = tmp_path / "own" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine_alone.yaml").write_text("# @package _global_\nname: mine_alone\n")
    for flags in (["--config-dir", str(folder.parent)], [f"--config-dir={folder.parent}"]):
        assert "did you mean mine_alone?" in refused(*flags, "+experiment=mine_alon")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["+experiment=cnn_vanila"], ["experiment=cnn_vanila: no such experiment; did you mean cnn_vanilla"]),
        (["model=cnn"], ["name: no value; choose +experiment=NAME (asr_attention, asr_attention_spoken, asr_lstm, "]),
        (["+experiment=cnn_vanilla", "model=cnnn"], ["model=cnnn: no such model; did you mean cnn"]),
        (["+experiment=cnn_vanilla", "optimizer=sdg"], ["optimizer=sdg: no such optimizer; did you mean sgd?"]),
        (["+experiment=cnn_vanilla", "optimizer.lrr=1"], ["optimizer.lrr: no such key; did you mean optimizer.lr"]),
        (["+experiment=cnn_vanilla", "+optimizer.lrr=1"], ["optimizer.lrr: no such key of ", "did you mean lr?"]),
        (["+experiment=cnn_vanilla", "sede=1"], ["sede: no such key; did you mean seed"]),
        (["+experiment=cnn_vanilla", "hydra.job.nam=x"], ["hydra.job.nam: no such key; did you mean hydra.job.name"]),
        (["-m", "+experiment=p2g_lstm,p2g_beam", "model.sise=1"], ["model.sise: no such key; did you mean model.size"]),
        (["-m", "+experiment=choice(p2g_lstm)", "model.sise=1"], ["model.sise: no such key; did you mean model.size"]),
        (["+sweep=p2g", "model.sise=1"], ["model.sise: no such key; did you mean model.size"]),
        (["+search=p2g_tpe", "model.sise=1"], ["model.sise: no such key; did you mean model.size"]),
        (["-m", "+experiment=p2g_lstm,cnn_vanilla", "model.size=1"], ["model.size: not found in every experiment"]),
        (["-m", "+experiment=cnn_vanilla,p2g_lstm", "model.size=1"], ["model.size: not found in every experiment"]),
        (["+sweep=p2g", "model.size=null"], ["model.size: not found in every experiment", "or write ++model.size="]),
        (["+sweep=p2g_improvements", "model/attention=dot"], ["model/attention: not found in every experiment"]),
        (["+experiment=cnn_vanilla", "callbacks=[images,none]", "model=3"], ["model=3: no such model"]),
        (["-m", "+experiment=p2g_lstm,p2g_bean"], ["experiment=p2g_bean: no such experiment; did you mean p2g_beam"]),
        (["+experiment=cnn_vanilla", "optimiser.lr=1"], ["optimiser.lr: no such key; did you mean optimizer"]),
        (["+experiment=cnn_vanilla", "+epochs=1"], ["epochs: no such key; "]),
        (["+experiment=cnn_vanilla", "optimizer.lr=[0.1"], ["optimizer.lr=[0.1: cannot be read; ", "can be quoted: "]),
        (["-m", "+experiment=cnn_vanilla", "seed=1,"], ["seed=1,: cannot be read; "]),
        (["+experiment=cnn_vanilla", "seed"], ["seed: no KEY=VALUE; begin with +experiment=NAME"]),
        (["cnn_vanilla"], ["cnn_vanilla: did you mean +experiment=cnn_vanilla?"]),
        (["=3"], ["=3: names no key; say KEY=VALUE"]),
        (["+experiment=cnn_vanilla", "experiment=cnn_bn_gap"], ["experiment: given 2 times; give it once"]),
        (["experiment=cnn_vanilla", "lr=0.1"], ["lr: no such key; did you mean optimizer.lr?"]),
        (
            ["+experiment=p2g_attention", "attention=dot"],
            ["attention: no such key; did you mean model/attention="],
        ),
        (["+experiment=p2g_beam", "decoding.width=10"], ["did you mean evaluation.decoding.width?"]),
        (
            ["+experiment=cnn_vanilla", "+profile=quick", "optimizer.lrr=1"],
            ["optimizer.lrr: no such key; did you mean"],
        ),
        (["+experiment=cnn_vanilla", "~optimizer"], ["optimizer: missing"]),
        (["+experiment=cnn_vanilla", "model=null"], ["dlbench: model=null: no such model; known: cnn, cnn_bn_gap"]),
        (
            ["data=null", "+experiment=cnn_vanilla"],
            ["dlbench: data=null: no such data; known: cmudict, image_folder"],
        ),
        (["+experiment=cnn_vanilla", "trainer=5"], ["dlbench: trainer=5: no such trainer; known: default"]),
        (["+experiment=null"], ["dlbench: experiment=null: no such experiment; known: asr_attention, "]),
        (["+experiment=cnn_vanilla", "model="], ["dlbench: model=: no such model; known: cnn, cnn_bn_gap"]),
        (["+experiment=cnn_vanilla", "hydra=null"], ["Config group override must be a string", "(verbose=true"]),
        (["+experiment=cnn_vanilla", "seed.x=1"], ["dlbench: seed.x: no such key; did you mean seed?"]),
        (
            ["+experiment=cnn_vanilla", "optimizer=adam", "optimizer.momentum=0.9"],
            ["optimizer.momentum: no such key; ", "optimizer.beta1"],
        ),
        (["+experiment=cnn_vanilla", "paths=null", "paths.runs=x"], ["'paths.runs'", "(verbose=true shows where)"]),
    ],
)
def test_what_does_not_compose_is_named_with_the_remedy(
    arguments: list[str], parts: list[str], refused: Refused
) -> None:
    line = refused(*arguments)
    assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    ("override", "start"),
    [
        ("seed=-1", "seed=-1: Input should be greater than or equal to 0"),
        ("seed=4294967296", "seed=4294967296: Input should be less than 4294967296"),
        ("data.synthetic_sizes=[48,24]", "data.synthetic_sizes=[48, 24]: Value should have at least 3 items"),
        ("model.kernel_size=4", "model: kernel_size must be odd"),
        ("model.in_channels=1", "model: does not take pictures of shape (3, 48, 48)"),
        ("model.classes=3", "model.classes=3: the data has 6 classes"),
        ("scheduler.factor=2", "optimizer or scheduler: "),
        ("data.synthetic_sizes=[17,6,6]", "data.batch_size=8: 17 training examples leave a "),
    ],
)
def test_a_value_that_cannot_be_run_is_named_before_any_training(override: str, start: str, refused: Refused) -> None:
    line = refused("+experiment=cnn_bn_gap", *TINY, override)
    assert line.startswith(f"dlbench: {start}"), line


OWN_CODE = """
from __future__ import annotations
from typing import TYPE_CHECKING
import torch
if TYPE_CHECKING:
    from collections.abc import Sequence

class Lying(torch.nn.Module):
    outputs = 9
    def __init__(self, more: Sequence[int] = ()) -> None:
        super().__init__()
    def forward(self, pictures):
        return pictures.flatten(1)[:, :6]

class NoRate(torch.optim.Optimizer):
    def __init__(self, params) -> None:
        super().__init__(params, {})
"""


@pytest.mark.parametrize(
    ("overrides", "start"),
    [
        (
            ("~model", "+model={_target_: own_code_here.Lying}"),
            "model: gives (1, 6) for one picture, but its outputs=9",
        ),
        (
            ("~optimizer", "+optimizer={_target_: own_code_here.NoRate, _partial_: true}"),
            "optimizer or scheduler: the optimiser's groups of parameters have no 'lr'",
        ),
        (
            ("~scheduler", "+scheduler={_target_: torch.optim.lr_scheduler.ReduceLROnPlateau, _partial_: true}"),
            "scheduler: ReduceLROnPlateau goes by a metric",
        ),
        (("model._target_=own_broken_here.Net",), "own_broken_here.Net: cannot be imported (SyntaxError"),
        (("data=image_folder",), "data.root: no value; set data.root=VALUE"),
    ],
)
def test_own_code_that_cannot_be_run_is_named_before_any_training(
    overrides: tuple[str, ...],
    start: str,
    refused: Refused,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path_factory.mktemp("own")
    monkeypatch.syspath_prepend(str(folder))
    (folder / "own_code_here.py").write_text(OWN_CODE, encoding="utf-8")
    (folder / "own_broken_here.py").write_text("class Net(", encoding="utf-8")
    tiny = TINY if "data=image_folder" not in overrides else ()
    line = refused("+experiment=cnn_bn_gap", *tiny, *overrides)
    assert line.startswith(f"dlbench: {start}"), line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_here_is_named_with_those_that_are(refused: Refused) -> None:
    line = refused("+experiment=cnn_vanilla", *TINY, "trainer.device=cuda")
    assert line.startswith("dlbench: trainer.device=cuda: this machine has no such device; it has cpu")


def test_a_missing_data_folder_is_named(refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "no data"
    monkeypatch.setenv("DLBENCH_DATA", str(tmp_path / "nowhere"))
    for named, words in ((tmp_path / "nowhere", []), (missing, [f"paths.data='{missing}'"])):
        line = refused("+experiment=cnn_vanilla", *TINY, "data.source=auto", *words)
        assert line.startswith(f"dlbench: {named}: no such data folder; correct the path or DLBENCH_DATA")


@pytest.mark.parametrize("source", ["npz", "folder"])
def test_pictures_that_were_asked_for_and_are_not_there_are_not_replaced(
    source: str, refused: Refused, tmp_path: Path
) -> None:
    line = refused("+experiment=cnn_vanilla", *TINY, f"data.source={source}", f"paths.data={tmp_path / 'here'}")
    assert f"data.source={source}: no such Intel pictures" in line
    assert "python -m dlbench data fetch intel" in line


def pictures(path: Path, **changes: np.ndarray) -> Path:
    """An npz of the course's keys, six pictures a split."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = rng.integers(0, 256, (6, 48, 48, 3), np.uint8)
        arrays[f"{split}_labels"] = np.arange(6)
    path.parent.mkdir(parents=True)
    np.savez(path, **{**arrays, **changes})
    return path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4] = bytes(byte ^ 0xFF for byte in content[middle : middle + 4])
    path.write_bytes(content)


def pickle(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()
    pictures(path, train_labels=np.array([None] * 6))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (truncate, "cannot be read, truncated or altered"),
        (flip, "cannot be read, truncated or altered"),
        (pickle, "train_labels contains pickled objects, which can run code, and is not read"),
    ],
)
@pytest.mark.parametrize("source", ["npz", "auto"])
def test_a_damaged_npz_is_named_and_never_replaced(
    source: str, damage: Callable[[Path], None], problem: str, refused: Refused, tmp_path: Path
) -> None:
    path = pictures(tmp_path / "data" / "intel" / "intel_landscapes.npz")
    damage(path)
    line = refused("+experiment=cnn_vanilla", *TINY, f"data.source={source}", f"paths.data={tmp_path / 'data'}")
    assert line.startswith(f"dlbench: {path}: {problem}")


def test_a_picture_that_does_not_decode_is_named(refused: Refused, tmp_path: Path) -> None:
    base = tmp_path / "data" / "intel_folder"
    for split in ("seg_train", "seg_test"):
        for name in CLASSES:
            (base / split / name).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (150, 150), (number, 100, 200)).save(base / split / name / f"{number}.jpg")
    (base / "seg_train" / "sea" / "1.jpg").write_bytes(b"\xff\xd8 and no picture")
    where = (f"paths.data={tmp_path / 'data'}", f"paths.cache={tmp_path / 'cache'}")
    line = refused("+experiment=cnn_vanilla", *TINY, "data.source=folder", *where)
    assert line.startswith(f"dlbench: seg_train/sea/1.jpg in {base}: cannot be read as a picture")


def test_a_runs_folder_that_is_a_file_or_cannot_be_written_is_named(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", *[Path("/sys/runs")] * (sys.platform == "linux")):
        line = refused("+experiment=cnn_vanilla", *TINY, f"paths.runs={place}")
        assert line.startswith(f"dlbench: cannot write to {place}: ")
        assert "paths.runs=FOLDER" in line
    assert (tmp_path / "file").read_text() == "mine"


def test_a_wrong_subcommand_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recrods", "list"]) == 2
    assert capsys.readouterr().err == "dlbench: recrods: no such subcommand (--help shows all); did you mean records?\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("records list paths.runs=/x", "paths.runs=/x: only a run takes it so; here say --runs /x"),
        ("predict p2g_attention paths.runs=/x", "paths.runs=/x: only a run takes it so; here say --runs /x"),
        ("tensorboard paths.runs=/x", "paths.runs=/x: only a run takes it so; here say --runs /x"),
        ("report profile=full", "profile=full: only a run takes it so; here say --profile full"),
        ("data check paths.data=/x", "paths.data=/x: only a run takes it so; here say --folder /x"),
        ("records verify ab paths.data=/x", "paths.data=/x: only a run takes it so; here say --data /x"),
        (
            "data list paths.cache=/x",
            "paths.cache=/x: only a run takes it so; here set DLBENCH_CACHE=/x in the environment",
        ),
        (
            "records list --json optimizer.lr=1",
            "optimizer.lr=1: only runs have settings; python -m dlbench records --help shows what there is here",
        ),
    ],
)
def test_a_runs_setting_in_a_subcommand_is_named_with_what_to_say(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    assert capsys.readouterr().err == f"dlbench: {said}\n"


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["run", "--help"], ["+experiment=p2g_lstm", "--help"]])
def test_help_names_every_choice_in_80_columns(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    for path in paths.conf().glob("*/**/*.yaml"):
        assert path.stem in printed.split() or path.parent.name == "sweeper"
    for line in printed.splitlines():
        if line.startswith("dlbench ") and line.split()[1].isalpha():
            assert line.split()[1] in commands.NAMES
    assert {name for name in commands.NAMES if name not in printed.split()} == set()


def test_groups_with_a_plus_are_those_that_the_configuration_does_not_choose_of() -> None:
    chosen = (paths.conf() / "config.yaml").read_text(encoding="utf-8")
    groups = {path.name for path in paths.conf().iterdir() if path.is_dir()} - {"hydra"}
    assert {group for group in groups if f"  - {group}: " not in chosen} == {*WITH_PLUS}


def test_nothing_asked_is_answered_by_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "+experiment=NAME" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("name", commands.NAMES)
def test_every_subcommand_says_what_it_does(name: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, flag]) == 0
    assert f"Usage: dlbench {name}" in capsys.readouterr().out


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OF_CTRL_C, DataError("what is wrong")])
def test_how_a_subcommand_ends_is_told(
    error: BaseException, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> None:
        raise error

    monkeypatch.setattr("dlbench.commands.records.find", end)
    code = 1 if isinstance(error, DataError) else 130
    assert main(["records", "show", "x"]) == code
    said = "interrupted; the same command goes on where it was" if code == 130 else "what is wrong"
    assert capsys.readouterr().err == f"dlbench: {said}\n"


def test_a_name_that_is_not_utf8_is_named_in_one_line(tmp_path: Path) -> None:
    name = str(tmp_path / "runs\udcff" / "a b")
    with pytest.raises(UnicodeEncodeError) as caught:
        (tmp_path / "manifest.json").write_text(f'{{"folder": "{name}"}}\n', encoding="utf-8")
    line = cli.one_line(caught.value)
    assert line is not None
    assert line.startswith(f"{tmp_path}/runs\udcff/a")
    assert "rename the file or folder" in line
