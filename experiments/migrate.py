"""Bring the committed records of schema 1 to schema 2, once: ``python experiments/migrate.py OLD NEW``.

Each gets ``identity.json`` and the folder, ``run`` and evaluations that follow from it; ``config.yaml`` stays as it is,
since old commits need its paths; source hashes and confirmations go; predictions and artifacts are packed together;
every file is sealed. Where the old and the new rules disagree on what is the same, that is printed.
"""

import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from dlbench import components, identity
from dlbench.records import seal
from dlbench.records.__main__ import pack
from dlbench.records.files import read_config, read_json, write_json

OLD_EXECUTION = ("device", "threads")


def main(old_folder: Path, new_folder: Path) -> None:
    """Migrate every record of a folder into another."""
    runs = {path.name: _identity(path) for path in sorted(old_folder.iterdir())}
    ids = {old: identity.digest(meaning) for old, meaning in runs.items()}
    disagreements = [f"one run now: {a} and {b}" for a in ids for b in ids if a < b and ids[a] == ids[b]]
    old_rows, new_rows = defaultdict(set), defaultdict(set)
    for old, meaning in runs.items():
        _migrate(old_folder / old, new_folder / ids[old], meaning, ids)
        scientific = read_json(old_folder / old / "manifest.json")["scientific"]
        for path in sorted((old_folder / old / "evaluations").iterdir()):
            settings = read_config(path / "config.yaml")
            old_rows[_old_compared(scientific, settings)].add(path)
            new_rows[identity.compared_id(meaning, settings)].add(path)
    rows = [{frozenset(group) for group in found.values()} for found in (old_rows, new_rows)]
    disagreements += [f"one configuration only before: {sorted(map(str, group))}" for group in rows[0] - rows[1]]
    disagreements += [f"one configuration only now: {sorted(map(str, group))}" for group in rows[1] - rows[0]]
    print(f"{len(runs)} records, {len(set(ids.values()))} identities; {len(rows[0])} and {len(rows[1])} configurations")
    print("\n".join(disagreements) or "the rules agree")
    (new_folder.parent / "ids.json").write_text(json.dumps(ids))


def _identity(folder: Path) -> dict[str, Any]:
    config, manifest = read_config(folder / "config.yaml"), read_json(folder / "manifest.json")
    scientific = manifest["scientific"]
    told = {name: scientific[name] for name in identity.TRAINING_SECTIONS} | {"seed": scientific["seed"]}
    own = identity.settings_of(config)
    own["trainer"] = {**own["trainer"], "device": scientific["trainer"]["device"]}
    assert own == told, f"{folder}: config.yaml and manifest.json tell different things"
    return identity.training(config, scientific["fingerprint"], scientific["trainer"]["device"])


def _migrate(old: Path, new: Path, meaning: dict[str, Any], ids: dict[str, str]) -> None:
    shutil.copytree(old, new, ignore=shutil.ignore_patterns("confirmations.json"))
    config = components.today(read_config(new / "config.yaml"))
    versions = components.versions({name: config[name] for name in identity.TRAINING_SECTIONS})
    write_json(new / "identity.json", meaning)
    manifest = read_json(new / "manifest.json")
    kept = {key: value for key, value in manifest.items() if key not in ("run", "scientific", "source")}
    write_json(
        new / "manifest.json",
        {"run": new.name, **kept, "versions": versions, "bound": components.bound(config)},
    )
    training = read_json(new / "training.json")
    content = {key: value for key, value in training.items() if key not in ("schema", "run")}
    files = seal.hashes(new, without=("training.json", "evaluations"))
    seal.close(new / "training.json", {"run": new.name, **content}, files)
    for path in sorted((new / "evaluations").iterdir()):
        settings = read_config(path / "config.yaml")
        about = identity.evaluation(new.name, settings)
        place = path.rename(path.with_name(identity.digest(about)))
        result = read_json(place / "result.json")
        gone = ("schema", "run", "evaluation", "source", "evaluation_source", "members")
        content = {
            "run": new.name,
            "evaluation": place.name,
            "identity": about,
            "weights": training["weights"],
            **{key: value for key, value in result.items() if key not in gone},
            "versions": {**versions, **components.versions(components.today(settings))},
        }
        if "members" in result:
            content["members"] = {ids[run]: weights for run, weights in result["members"].items()}
        seal.close(place / "result.json", content, {})
        pack(place)


def _old_compared(scientific: dict[str, Any], settings: dict[str, Any]) -> str:
    """What the rules before averaged over seeds."""
    trainer = {key: value for key, value in scientific["trainer"].items() if key not in OLD_EXECUTION}
    sections = {name: scientific[name] for name in identity.TRAINING_SECTIONS}
    members = {"members": len(settings["members"] or ())} if "members" in settings else {}
    return identity.digest({"training": {**sections, "trainer": trainer}, "evaluation": {**settings, **members}})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
