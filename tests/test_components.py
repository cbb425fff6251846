"""Components: what they declare, how a user's own code is told, and how a listing is kept honest."""

import importlib
import json
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from resealed import change, reseal

from dlbench import components, identity, own_code, paths
from dlbench.components import Component, changed_meaning, component, declared
from dlbench.errors import ConfigError
from dlbench.records.files import read_config, read_json
from dlbench.records.store import State, Store
from dlbench.records.summary import Use, summarise
from dlbench.report.results import LeftOut, collect
from dlbench.run import run
from dlbench.run.plan import prepare

SGD = "dlbench.tasks.optim.sgd"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write modules of a user's own; they can be imported, and are forgotten afterwards."""
    folder = tmp_path / "own code"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    names: set[str] = set()

    def write(**modules: str) -> None:
        for name, text in modules.items():
            path = folder / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
            names.add(name.partition("/")[0])
        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            del sys.modules[name]
        for cached in (own_code._local_file, own_code.distribution):
            cached.cache_clear()

    yield write
    write()


def test_the_listing_is_what_the_code_says() -> None:
    assert components.SNAPSHOT.read_text() == components.listing(components.renewed()), "make golden"


def test_a_move_is_noted_by_the_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = components.collect()
    lenet = now.pop("dlbench.models.lenet.LeNet")
    monkeypatch.setattr(components, "collect", lambda: {**now, "dlbench.models.small.LeNet": lenet})
    assert components.renewed()["dlbench.models.small.LeNet"].formerly == ("dlbench.models.lenet.LeNet",)


def test_nothing_moves_to_where_another_lay(monkeypatch: pytest.MonkeyPatch) -> None:
    now = components.collect()
    now["dlbench.models.small.LeNet"] = now.pop("dlbench.models.lenet.LeNet")
    now["dlbench.models.lenet.LeNet"] = now.pop("dlbench.models.mlp.MLP")
    monkeypatch.setattr(components, "collect", lambda: now)
    with pytest.raises(ValueError, match=r"component \S+ lay at dlbench\.models\.lenet\.LeNet, where another lies now"):
        components.renewed()


def test_every_target_of_the_configurations_is_a_component() -> None:
    targets = {
        value
        for path in Path("conf").rglob("*.yaml")
        if "hydra" not in path.parts
        for key, value in _items(OmegaConf.to_container(OmegaConf.load(path)))
        if key == "_target_"
    }
    assert len(targets) > 30
    assert {target for target in targets if not target.startswith("torch.")} <= components.snapshot().keys()


def _items(node: Any) -> Any:
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from _items(value)


def test_the_listing_can_be_read_without_torch() -> None:
    code = (
        "import sys; from dlbench import identity; from dlbench.config import composed\n"
        "identity.training(composed('cnn_bn_gap', ()), 'f', 'cpu'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("version", ["1", "1.0.0", "0.1", "1.x", "v1.0"])
def test_a_version_is_major_and_minor(version: str) -> None:
    with pytest.raises(ValueError, match=r"MAJOR\.MINOR"):
        component("mine", version)


def test_a_subclass_is_no_component_by_its_base() -> None:
    @component("base", "1.0")
    class Base:
        pass

    class Derived(Base):
        pass

    assert declared(Base)
    assert declared(Derived) is None


BEFORE = Component("net", "1.3", defaults={"size": 8, "act": "relu"})


@pytest.mark.parametrize(
    ("after", "problems"),
    [
        (replace(BEFORE, defaults={"size": 8, "act": "relu", "further": True}), 0),
        (replace(BEFORE, version="1.4"), 0),
        (replace(BEFORE, defaults={"size": 9, "act": "relu"}), 1),
        (replace(BEFORE, version="2.0", defaults={"size": 9}), 0),
        (replace(BEFORE, defaults={"size": 8}), 1),
        (replace(BEFORE, former={"act": ("nonlinearity",)}, defaults={"size": 8, "nonlinearity": "relu"}), 0),
        (replace(BEFORE, former={"size": ("a", "b")}, defaults={"act": "relu", "a": 8, "b": 8}), 0),
        (replace(BEFORE, former={"size": ("a", "b")}, defaults={"act": "relu", "a": 8, "b": 9}), 1),
    ],
)
def test_a_changed_default_needs_a_new_major(after: Component, problems: int) -> None:
    assert len(changed_meaning({"old.Net": BEFORE}, {"new.Net": after})) == problems


def listed(monkeypatch: pytest.MonkeyPatch, path: str, known: Component) -> None:
    """Have the listing say something else, and forget what was derived from it."""
    changed = {place: each for place, each in components.snapshot().items() if each.name != known.name} | {path: known}
    monkeypatch.setattr(components, "snapshot", lambda: changed)
    monkeypatch.setattr(components, "by_name", lambda: {each.name: each for each in changed.values()})
    monkeypatch.setattr(
        components, "_moved", lambda: {old: place for place, each in changed.items() for old in each.formerly}
    )


def test_a_moved_class_keeps_its_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"_target_": SGD, "lr": 0.1, "momentum": 0.5}
    before = identity.part(node)
    listed(monkeypatch, "elsewhere.sgd", replace(components.snapshot()[SGD], formerly=(SGD,)))
    assert identity.part({**node, "_target_": "elsewhere.sgd"}) == before
    assert identity.part(node) == before  # as an old record has it


def test_a_further_option_with_a_default_keeps_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"_target_": SGD, "lr": 0.1}
    before, known = identity.part(node), components.snapshot()[SGD]
    listed(monkeypatch, SGD, replace(known, defaults={**known.defaults, "nesterov": False}))
    assert identity.part({**node, "nesterov": False}) == before == identity.part(node)
    assert identity.part({**node, "nesterov": True}) != before


def with_further(node: Any) -> Any:
    """A configuration that names a further option of every component of the suite's, which is as by default."""
    if isinstance(node, list):
        return [with_further(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: with_further(value) for key, value in node.items()}
    return {**found, "further": False} if str(node.get("_target_")).startswith("elsewhere.") else found


def test_no_committed_identity_changes_when_all_classes_move_and_get_a_further_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for path, each in components.snapshot().items():
        options = {**each.defaults, "further": False}
        moved = replace(each, formerly=(*each.formerly, path), defaults=options)
        listed(monkeypatch, f"elsewhere.{each.name}", moved)
    records = Store(paths.experiments() / "results").all()
    assert len(records) >= 244
    for record in records:
        told = read_json(record.identity)
        about = told["fingerprint"], told["trainer"]["device"]
        new = with_further(record.settings())
        assert all(new[name]["further"] is False for name in ("task", "data", "model", "trainer", "evaluation"))
        for config in (read_config(record.config), new):
            assert identity.training(config, *about) == told
        for evaluation in record.evaluations():
            for settings in (evaluation.recorded_settings(), with_further(evaluation.settings())):
                assert identity.evaluation(record.id, settings) == evaluation.read()["identity"]
        new["model"]["further"] = True
        assert identity.training(new, *about) != told


def test_a_renamed_and_a_split_argument_keep_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"_target_": SGD, "lr": 0.1, "momentum": 0.5, "weight_decay": 0.1}
    before, known = identity.part(node), components.snapshot()[SGD]
    former = {"momentum": ("inertia",), "weight_decay": ("decay_weights", "decay_biases")}
    defaults = {"inertia": 0.0, "decay_weights": 0.0, "decay_biases": 0.0}
    listed(monkeypatch, SGD, replace(known, former=former, defaults=defaults))
    new = {"_target_": SGD, "lr": 0.1, "inertia": 0.5, "decay_weights": 0.1, "decay_biases": 0.1}
    assert identity.part(new) == before
    assert components.today(node) == new
    assert identity.part({**new, "decay_biases": 0.0}) != before
    assert identity.part({"_target_": SGD, "lr": 0.1, **defaults}) == {"is": "sgd 1", "lr": 0.1}


def test_a_major_changes_the_identity_and_a_minor_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"_target_": SGD, "lr": 0.1}
    before, known = identity.part(node), components.snapshot()[SGD]
    listed(monkeypatch, SGD, replace(known, version="1.7"))
    assert identity.part(node) == before
    assert components.versions({"optimizer": node}) == {"sgd": "1.7"}
    listed(monkeypatch, SGD, replace(known, version="2.0"))
    assert identity.part(node) != before


def test_what_is_used_counts_by_its_minor_and_by_a_major_beyond_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"_target_": "dlbench.tasks.transduction.Transduction"}
    before = identity.part(node)
    assert components.versions(node).keys() == {"transduction", "greedy", "cer", "wer", "macro_error_rate"}
    path, cer = next((path, each) for path, each in components.snapshot().items() if each.name == "cer")
    listed(monkeypatch, path, replace(cer, version="1.1"))
    assert identity.part(node) == before
    assert components.versions(node)["cer"] == "1.1"
    listed(monkeypatch, path, replace(cer, version="2.0"))
    assert identity.part(node) != before


NET = """
    from torch import nn
    import layers

    class Net(nn.Module):
        def __init__(self, outputs: int = 6, width: int = 4) -> None:
            super().__init__()
            self.outputs = outputs
            self.features = nn.Sequential(nn.Conv2d(3, width, 3), layers.ACTIVATION())
            self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, outputs))

        def forward(self, x):
            return self.head(self.features(x))
"""
LAYERS = "from torch import nn\nACTIVATION = nn.ReLU\n"


def test_own_code_is_told_by_its_modules_and_what_they_import(own: Any) -> None:
    own(net=NET, layers=LAYERS, other="")
    node = {"_target_": "net.Net", "width": 5}
    first = identity.part(node)
    assert first.keys() == {"is", "source", "width"}
    own(net=NET, layers=LAYERS, other="x = 1")
    assert identity.part(node) == first
    own(net=NET, layers=LAYERS.replace("ReLU", "Tanh"))
    second = identity.part(node)
    assert second != first
    own(net=NET.replace("self.features", "self.features  # a comment", 1), layers=LAYERS)
    assert identity.part(node) != first


def test_own_code_is_told_as_it_was_when_it_was_imported(own: Any, tmp_path: Path) -> None:
    own(net=NET, layers=LAYERS)
    first = identity.part({"_target_": "net.Net"})
    path = tmp_path / "own code" / "layers.py"
    path.write_text(LAYERS.replace("ReLU", "Tanh"))  # in the middle of a sweep, say
    assert identity.part({"_target_": "net.Net"}) == first
    own(net=NET, layers=path.read_text())
    assert identity.part({"_target_": "net.Net"}) != first


def test_own_packages_relative_imports_and_packages_above_count(own: Any) -> None:
    texts = {"kit/__init__": "", "kit/nets/deep": "from ..parts import make\nclass Net:\n    pass\n"}
    texts |= {"kit/nets/__init__": "", "kit/parts": "def make(): return 1\n"}
    own(**texts)
    first = components.source_of("kit.nets.deep")
    own(**texts | {"kit/parts": "def make(): return 2\n"})
    second = components.source_of("kit.nets.deep")
    own(**texts | {"kit/__init__": "x = 1\n"})
    assert len({first, second, components.source_of("kit.nets.deep")}) == 3


def test_an_editable_install_that_a_finder_finds_counts_as_own_code(tmp_path: Path) -> None:
    """Setuptools installs so what does not lie in a folder of the package's name."""
    source = tmp_path / "source"
    (source / "nets").mkdir(parents=True)
    project = {
        "pyproject.toml": """
            [build-system]
            requires = ["setuptools"]
            build-backend = "setuptools.build_meta"
            [project]
            name = "kit"
            version = "0.1"
            [tool.setuptools]
            packages = ["kit", "kit.nets"]
            package-dir = {kit = "source"}
        """,
        "source/__init__.py": "",
        "source/nets/__init__.py": "",
        "source/nets/deep.py": "from ..parts import make\nclass Net:\n    pass\n",
        "source/parts.py": "def make(): return 1\n",
    }
    for name, text in project.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    build = "from setuptools import build_meta; build_meta.build_editable('.')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    assert list((tmp_path / "site").glob("__editable__*finder.py"))
    told = (
        "import json, site; site.addsitedir('site'); from dlbench import identity\n"
        "print(json.dumps(identity.part({'_target_': 'kit.nets.deep.Net'})))"
    )

    def part() -> dict[str, Any]:
        found = subprocess.check_output([sys.executable, "-c", told], cwd=tmp_path, text=True)
        return dict(json.loads(found))

    first = part()
    assert first.keys() == {"is", "source"}
    assert part() == first
    (source / "parts.py").write_text("def make(): return 2\n")
    assert part().keys() == {"is", "source"}
    assert part()["source"] != first["source"]


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "net.Net"}]},
        {"_target_": SGD, "blocks": [{"_target_": "net.Net"}]},
        {"_target_": SGD, "kinds": {"first": {"_target_": "net.Net"}}},
    ],
)
def test_own_code_counts_wherever_it_stands(own: Any, node: dict[str, Any]) -> None:
    own(net=NET, layers=LAYERS)
    first = identity.part(node)
    own(net=NET, layers=LAYERS.replace("ReLU", "Tanh"))
    assert identity.part(node) != first


def test_a_component_in_a_list_tells_its_version() -> None:
    assert components.versions({"a": [{"_target_": SGD}, {"b": {"_target_": "dlbench.decoding.beam.Beam"}}]}) == {
        "beam": "1.0",
        "sgd": "1.0",
    }


def test_an_alias_of_a_librarys_class_is_told_by_both_modules(own: Any) -> None:
    own(alias="import torch\nAct = torch.nn.ReLU\n")
    first = identity.part({"_target_": "alias.Act"})
    assert first["distribution"].startswith("torch ")
    own(alias="import torch\nAct = torch.nn.Tanh\n")
    assert identity.part({"_target_": "alias.Act"}) != first


def test_a_helper_that_is_reloaded_is_told_anew(own: Any, tmp_path: Path) -> None:
    own(net=NET, layers=LAYERS)
    first = identity.part({"_target_": "net.Net"})
    (tmp_path / "own code" / "layers.py").write_text(LAYERS.replace("ReLU", "Tanh"))
    importlib.reload(sys.modules["layers"])
    assert identity.part({"_target_": "net.Net"}) != first


ODD = object()


def test_defaults_are_told_alike_in_every_process() -> None:
    target = "torch.nn.TransformerEncoderLayer"
    code = f"from dlbench import components; print(components.bound({{'_target_': '{target}'}}))"
    first, second = (subprocess.check_output([sys.executable, "-c", code], text=True) for _ in range(2))
    assert first == second
    assert "torch.nn.functional.relu" in first

    def odd(a: float = float("inf"), b: Any = ODD, c: tuple[float, ...] = (1.0, float("nan"))) -> None:
        pass

    assert json.dumps(components.defaults_of(odd), allow_nan=False)


def test_own_code_with_a_declared_version_is_told_by_that(own: Any) -> None:
    declared = "from dlbench.components import component\n@component('my_net', '{}')\n" + textwrap.dedent(
        """
        class Net:
            def __init__(self, width: int = 4):
                pass
        """
    )
    own(mine=declared.format("1.0"))
    assert identity.part({"_target_": "mine.Net", "width": 4}) == {"is": "my_net 1"}
    assert components.versions({"_target_": "mine.Net"}) == {"my_net": "1.0"}
    own(mine=declared.format("1.1") + "# changed\n")
    assert identity.part({"_target_": "mine.Net", "width": 4}) == {"is": "my_net 1"}
    own(mine=declared.replace("my_net", "convnet").format("1.0"))
    with pytest.raises(ConfigError, match="convnet, which is taken"):
        identity.part({"_target_": "mine.Net"})


def test_an_installed_distribution_is_told_by_its_version_and_torch_by_its_path() -> None:
    torchs = {"_target_": "torch.optim.lr_scheduler.ConstantLR", "factor": 1.0, "_partial_": True}
    assert identity.part(torchs) == {"is": torchs["_target_"], "factor": 1}
    assert components.bound({"scheduler": torchs})[torchs["_target_"]]["total_iters"] == 5
    stopping = {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "val/loss"}
    assert identity.part(stopping)["distribution"].startswith("pytorch-lightning 2.")


@pytest.mark.parametrize("target", ["dlbench.models.mlp.fully_connected", "dlbench.models.cnn.Nothing", "no.such.Net"])
def test_what_is_no_component_is_named(target: str) -> None:
    with pytest.raises(ConfigError, match=target):
        identity.part({"_target_": target})


def test_code_without_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("notebook_cell")
    module.Net = type("Net", (), {"__module__": "notebook_cell"})
    monkeypatch.setitem(sys.modules, "notebook_cell", module)
    with pytest.raises(ConfigError, match="put the code into a file"):
        identity.part({"_target_": "notebook_cell.Net"})


def test_a_changed_default_in_the_code_stops_a_run(
    compose: Any, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = components.snapshot()[SGD]
    listed(monkeypatch, SGD, replace(known, defaults={**known.defaults, "momentum": 0.9}))
    with pytest.raises(ConfigError, match=r"sgd .*default of momentum was 0\.9; raise its MAJOR"):
        prepare(compose("+experiment=cnn_vanilla", *tiny))


def with_part(config: DictConfig, section: str, **node: Any) -> DictConfig:
    """A configuration with a part of a user's own in place of the suite's."""
    config[section] = node
    return config


def test_an_edited_net_of_the_user_is_trained_again(compose: Any, tiny: list[str], own: Any) -> None:
    def config() -> DictConfig:
        return with_part(compose("+experiment=cnn_vanilla", *tiny, "trainer.epochs=1"), "model", _target_="net.Net")

    own(net=NET, layers=LAYERS)
    first = run(config())
    assert first.trained
    assert not run(config()).trained
    own(net=NET, layers=LAYERS.replace("ReLU", "Tanh"))
    second = run(config())
    assert second.trained
    assert second.record.id != first.record.id


EARLY_STOPPING = "_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/loss, patience: 1, min_delta: 9"
STOP = f"+callbacks.stop={{{EARLY_STOPPING}}}"


def test_a_callback_that_may_change_a_training_is_part_of_it(compose: Any, tiny: list[str]) -> None:
    overrides = ["+experiment=cnn_vanilla", *tiny, "trainer.epochs=5"]
    stopped = run(compose(*overrides, STOP))
    assert stopped.record.closed()["epochs"] == 2
    assert "callbacks.stop" in read_json(stopped.record.identity)
    whole = run(compose(*overrides))
    assert whole.trained
    assert whole.record.id != stopped.record.id
    assert whole.record.closed()["epochs"] == 5
    assert not run(compose(*overrides, STOP)).trained


def test_a_callback_says_in_its_own_body_that_it_only_shows(compose: Any, tiny: list[str], own: Any) -> None:
    base = "import pytorch_lightning as pl\nclass Base(pl.Callback):\n    display_only = True\n"
    own(shows=base + "class Derived(Base):\n    pass\n")
    config = OmegaConf.to_container(compose("+experiment=cnn_vanilla", *tiny), resolve=True)
    callbacks = {name: {"_target_": f"shows.{name}"} for name in ("Base", "Derived")}
    found = identity.training({**config, "callbacks": callbacks}, "f", "cpu")
    assert [key for key in found if key.startswith("callbacks")] == ["callbacks.Derived"]


def test_records_of_other_versions(
    compose: Any, tiny: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["+experiment=cnn_vanilla", *tiny, "trainer.epochs=1"]
    first = run(compose(*overrides))
    listed(monkeypatch, SGD, replace(components.snapshot()[SGD], version="1.5"))
    monkeypatch.setattr(components, "check_code", lambda target: None)
    again = run(compose(*overrides))
    assert not again.trained
    assert again.result == first.result
    outdated = run(compose(*overrides, "rerun=outdated"))
    assert outdated.trained
    assert outdated.record.id == first.record.id
    assert "sgd 1.0, now 1.5" in capsys.readouterr().err
    assert read_json(outdated.record.manifest)["versions"]["sgd"] == "1.5"
    assert not run(compose(*overrides, "rerun=outdated")).trained
    outdated.record.training.unlink()  # interrupted, and then changed again
    listed(monkeypatch, SGD, replace(components.snapshot()[SGD], version="1.6"))
    assert outdated.record.state_on_disk() == State.INTERRUPTED
    assert run(compose(*overrides)).trained
    assert "sgd 1.5, now 1.6" in capsys.readouterr().err


def test_another_default_of_a_library_is_another_meaning(
    compose: Any, tiny: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def config() -> DictConfig:
        composed = compose("+experiment=cnn_vanilla", *tiny, "trainer.epochs=1")
        return with_part(composed, "optimizer", _target_="torch.optim.SGD", _partial_=True, lr=0.1)

    record = run(config()).record
    real = components.defaults_of

    def changed(target: Any) -> dict[str, Any]:
        return {**real(target), **({"momentum": 0.5} if target.__name__ == "SGD" else {})}

    change(record.manifest, numerics={**read_json(record.manifest)["numerics"], "torch": "2.0"})
    reseal(record)
    assert not run(config()).trained
    assert [line.use for line in summarise(record)] == [Use.COMPARABLE]
    assert len(collect([Store(record.folder.parent)]).results) == 1
    monkeypatch.setattr(components, "defaults_of", changed)
    assert [line.use for line in summarise(record)] == [Use.NEITHER]
    collection = collect([Store(record.folder.parent)])
    assert not collection.results
    other = "torch.optim.SGD has another default of momentum now, 0.5, where it was 0"
    assert collection.left_out == [LeftOut(record.id, f"no longer comparable: {other}")]
    assert run(config()).trained
    assert f"record {record.id}: {other}; set aside" in capsys.readouterr().err
    assert [line.use for line in summarise(record)] == [Use.REPRODUCIBLE]


def test_another_default_of_own_code_is_another_meaning_though_its_version_is_the_same(
    compose: Any, tiny: list[str], own: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def config() -> DictConfig:
        return with_part(compose("+experiment=cnn_vanilla", *tiny, "trainer.epochs=1"), "model", _target_="net.Net")

    declared = textwrap.dedent(NET).replace("class Net(", "@component('my_net', '1.0')\nclass Net(")
    declared = f"from dlbench.components import component\n{declared}"
    own(net=declared, layers=LAYERS)
    record = run(config()).record
    assert not run(config()).trained
    own(net=declared.replace("width: int = 4", "width: int = 5"), layers=LAYERS)
    assert run(config()).trained
    assert f"record {record.id}: net.Net has another default of width now, 5" in capsys.readouterr().err


def test_the_listing_is_json_that_a_person_can_read() -> None:
    entry = json.loads(components.SNAPSHOT.read_text())["dlbench.models.cnn.ConvNet"]
    assert entry["name"] == "convnet"
    assert entry["defaults"]["channels"] == [32, 64, 128]


def test_a_configuration_in_the_words_of_its_day_is_understood(compose: Callable[..., Any], tiny: list[str]) -> None:
    now = prepare(compose("+experiment=cnn_bn_gap", *tiny))
    old = OmegaConf.create(now.config)
    old.data.embedded_sizes, old.data.source = old.data.pop("synthetic_sizes"), "embedded"
    assert prepare(old).record.id == now.record.id
    old.data.synthetic_sizes = [6, 6, 6]
    with pytest.raises(ConfigError, match="embedded_sizes: is called synthetic_sizes now, which has a value too"):
        prepare(old)
