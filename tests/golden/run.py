"""Golden bits: tiny trainings on frozen data, and a hash of everything that comes out of each.

``python tests/golden/run.py [CASE ...]`` prints them as JSON, ``--list`` the names of all cases. It imports the
``dlbench`` that PYTHONPATH names, so that a checkout of any commit can be asked for its own bits.
"""

import hashlib
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"

PICTURES = ("trainer.epochs=2", "trainer.limit_train_batches=2", "evaluation.max_shift=1")
INTEL = (*PICTURES, "data.source=npz")
KMNIST = (*PICTURES, "data.source=test10k", "evaluation.rotations=[10]", "evaluation.scales=[1.2]")
OCT = (*PICTURES, "data.source=npz", "data.test_cut=official")
PAIRS = ("data.source=files", "trainer.epochs=2")
AFTER = (*PAIRS, "model.output_dropout_place=after_attention")  # what these cases were before that was an option
SPOKEN = (
    *("data.source=files", "data.corpus=ljspeech", "data.splits=[10,4,4]", "data.batch_size=4", "data.jobs=1"),
    *("data.max_characters=20", "trainer.epochs=2", "scheduler.epochs=2", "scheduler.warmup_epochs=0"),
    *("task.val_max_length=8", "evaluation.decoding.max_length=8"),
)
PADDED = (*SPOKEN, "data.frames=64", "data.target_symbols=24")
STORED = ("data.source=npz", "model.patterns=12")

CASES: dict[str, tuple[str, ...]] = {
    # Every experiment.
    "cnn_vanilla": INTEL,
    "cnn_bn_gap": INTEL,
    **{f"cnn_{name}": INTEL for name in ("kernel5", "kernel7", "average_pooling", "no_pooling")},
    "kmnist_cnn": KMNIST,
    "kmnist_mlp": KMNIST,
    "octmnist_cnn_maxpool": OCT,
    "octmnist_cnn_strided": OCT,
    **{
        f"p2g_{name}": PAIRS
        for name in ("lstm", "attention", "beam", "ensemble", "noise", "reversed", "transformer", "two_layers")
    },
    **{f"translit_{name}": PAIRS for name in ("lstm", "transformer")},
    **{f"translit_{name}": AFTER for name in ("attention", "beam", "ensemble", "noise", "reversed", "two_layers")},
    "p2g_nucleus": PAIRS,
    "asr_lstm": PADDED,
    "asr_attention": PADDED,
    "asr_lstm_spoken": SPOKEN,
    "asr_attention_spoken": SPOKEN,
    "hopfield_retrieval": STORED,
    # Options that change results; what stands before the colon is the experiment.
    "cnn_vanilla: layout": (*INTEL, "data.layout=scrambled"),
    "cnn_vanilla: memory order": (*INTEL, "task.channels_last=false"),
    "cnn_vanilla: double": (*INTEL, "trainer.precision=64-true", "trainer.epochs=1"),
    "cnn_vanilla: c2425": (*INTEL, "model.classes=null"),
    "cnn_bn_gap: bf16": (*INTEL, "trainer.precision=bf16-mixed", "trainer.epochs=1"),
    "cnn_bn_gap: a2425": (
        *INTEL,
        "model.hidden_bn=[true,true]",
        "optimizer.momentum=0.9",
        "optimizer.weight_decay=.01",
    ),
    "cnn_bn_gap: dropout": (*INTEL, "model.dropout_kind=channel", "model.dropout_place=before_pooling"),
    "cnn_bn_gap: curve": (*INTEL, "trainer.epochs=12"),
    "kmnist_cnn: permuted": (*KMNIST, "data.permute_pixels=true"),
    "kmnist_mlp: permuted": (*KMNIST, "data.permute_pixels=true"),
    "p2g_lstm: bucketed": (*PAIRS, "data.bucket_batches=20", "data.batch_size=16"),
    "p2g_lstm: fraction": (*PAIRS, "data.fraction=0.5", "evaluation.checkpoint=last"),
    "p2g_lstm: embedding dropout": (*PAIRS, "model.encoder_output_dropout=0", "model.embedding_dropout=0.2"),
    "p2g_attention: one direction": (*PAIRS, "model.bidirectional=false", "model.tied_output=false"),
    "p2g_attention: bilinear": (*PAIRS, "model/attention=bilinear"),
    "p2g_attention: dot": (*PAIRS, "model/attention=dot"),
    "p2g_attention: c2425": (
        *PAIRS,
        *("model.encoder_dropout=0", "model.output_dropout=0"),
        *("model.attention.layer_norm=true", "model.attention.v_std=0.01"),
    ),
    "p2g_attention: top_k": (*PAIRS, "decoding=top_k", "evaluation.decoding.temperature=0.7"),
    "p2g_attention: beam": (*PAIRS, "decoding=beam", "evaluation.decoding.length_normalisation=1"),
    "p2g_attention: beam ensemble": (*PAIRS, "decoding=beam", "evaluation.members=[43]"),
    "p2g_transformer: nucleus": (*PAIRS, "decoding=nucleus"),
    "translit_attention: published": PAIRS,
    "translit_attention: whole": (*AFTER, "task.drop_last_symbol=false", "evaluation.drop_last_symbol=false"),
    "p2g_lstm: cmudict": (
        *PAIRS,
        "data=cmudict",
        "data.stress=true",
        "data.holdout=[20,20]",
        "data.max_train_words=100",
    ),
    "p2g_lstm: wikipron": (*PAIRS, "data=wikipron", "data.holdout=[20,20]"),
    "asr_lstm: masked": (*SPOKEN, "+padding=masked"),
    "asr_attention: masked": (*SPOKEN, "+padding=masked", "decoding=beam", "evaluation.decoding.max_length=8"),
    "asr_lstm: nucleus": (
        *PADDED,
        "decoding=nucleus",
        "evaluation.decoding.max_length=8",
        "evaluation.checkpoint=best",
    ),
    "asr_lstm: plain loss": (*PADDED, "task.label_smoothing=0", "scheduler.warmup_epochs=0"),
    "hopfield_retrieval: noise": (*STORED, "task.corruption=noise", "task.amount=0.7", "model.grey=true"),
    "hopfield_retrieval: classical": (*STORED, "model=hopfield_classical", "task.amount=0.2"),
    "hopfield_retrieval: synchronous": (
        *STORED,
        *("model=hopfield_classical", "model.synchronous=true", "task.stored=random", "data=octmnist"),
        "data.test_cut=official",
    ),
}


def numerics() -> str:
    """What bits depend on beside the code, in a line: versions, kind of processor, limits on its instructions."""
    import torch

    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(re.findall(r"^(vendor_id|cpu family|model)\s*: (.*)$", cpu, re.MULTILINE))
    limits = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA")
    parts = [torch.__version__, torch.backends.cpu.get_cpu_capability(), *fields.values()]
    return " ".join([*parts, *(f"{name}={os.environ[name]}" for name in limits if name in os.environ)])


def bits(names: list[str]) -> dict[str, dict[str, Any]]:
    """What comes out of the cases named."""
    from hydra import compose, initialize_config_dir

    from dlbench import paths
    from dlbench.run import run

    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="dlbench-golden-") as scratch:
        fixed = (
            *("callbacks=none", "trainer.device=cpu", "trainer.progress=none"),
            *(f"paths.data={DATA}", f"paths.cache={scratch}/cache", f"paths.runs={scratch}/runs"),
        )
        for name in names:
            experiment = name.partition(":")[0]
            spoil_flags()
            with initialize_config_dir(str(paths.conf()), version_base="1.3"):
                config = compose("config", [f"+experiment={experiment}", *CASES[name], *fixed])
            outcome = run(config)
            rows = [json.loads(line) for line in outcome.record.metrics.read_text().splitlines()]
            found[name] = {
                "weights": json.loads(outcome.record.training.read_text())["weights"][:16],
                "train/loss": [row["train/loss"] for row in rows if "train/loss" in row],
                "curves": short_hash([{key: row[key] for key in row if not key.startswith("time/")} for row in rows]),
                "metrics": outcome.result["metrics"],
                **{path.name: file_hash(path) for path in outputs(outcome.evaluation.folder)},
                "flags": flags(),
                "versions": ", ".join(f"{name} {version}" for name, version in outcome.result["versions"].items()),
            }
    return found


def outputs(folder: Path) -> list[Path]:
    """Predictions and artifacts of an evaluation."""
    return sorted(path for path in [*folder.glob("predictions.*"), *folder.glob("artifacts/*")] if path.is_file())


def file_hash(path: Path) -> str:
    """Of a picture its pixels count, since their compression is the business of a library."""
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as picture:
            return hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()[:16]
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def short_hash(value: Any) -> str:
    """The hash of a value as JSON, whose numbers are written in full."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def spoil_flags() -> None:
    """Set torch's flags the wrong way, so that a run that does not set them is seen."""
    import torch

    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    torch.set_num_threads(2)
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def flags() -> str:
    """Torch's flags as the run left them."""
    import torch

    return json.dumps(
        {
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "fill": torch.utils.deterministic.fill_uninitialized_memory,
            "benchmark": torch.backends.cudnn.benchmark,
            "tf32": [torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32],
            "threads": torch.get_num_threads(),
            "cublas": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        }
    )


if __name__ == "__main__":
    asked = sys.argv[1:] or list(CASES)
    if asked == ["--list"]:
        sys.exit(print(*CASES, sep="\n"))
    if unknown := [name for name in asked if name not in CASES]:
        sys.exit(f"no such case: {', '.join(unknown)}; there are: {', '.join(CASES)}")
    json.dump({"numerics": numerics(), "bits": bits(asked)}, sys.stdout, indent=1)
