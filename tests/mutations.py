"""Whether the tests find planted faults: ``python tests/mutations.py [NAME ...]``; not part of ``make test``.

Each fault is one edit in a copy of the code, found by its text, wherever that stands; the tests named with it must fail
there, and pass without it. The exit code is the number of faults that were not found.
"""

import multiprocessing
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import pytorch_lightning  # noqa: F401  # this and what follows take long to import; every copy has them from here
import scipy.stats  # noqa: F401
import torch.utils.tensorboard  # noqa: F401
import torchmetrics  # noqa: F401
import torchvision  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
Fault = tuple[str, str, str]
"""A text that stands once in the code, what is put in its place, and the tests that must find it."""

FAULTS: dict[str, Fault] = {
    # Models.
    "attention sees padding": (".masked_fill(~mask[:, None], -torch.inf)", "", "test_attention"),
    "attention without tanh": (
        "self.output(self.join(query, weights @ memory)).tanh()",
        "self.output(self.join(query, weights @ memory))",
        "test_attention",
    ),
    "convolutions without padding": ("padding=kernel_size // 2", "padding=0", "test_models"),
    "batch normalisation left out": (
        "blocks += [nn.BatchNorm2d(target)] if convolution_bn else []",
        "blocks += [nn.Identity()]",
        "test_models",
    ),
    "output not tied to embedding": (
        "if tied_output:\n            self.output.weight =",
        "if tied_output:\n            unused =",
        "test_seq2seq",
    ),
    "decoder starts from zeros": (
        'hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}\n        if self.attention is None',
        '0 * hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}\n        if self.attention is None',
        "test_seq2seq",
    ),
    "patterns not centred": (
        "self.scale(pictures - pictures.mean(dim=(1, 2, 3), keepdim=True))",
        "self.scale(pictures)",
        "test_retrieval",
    ),
    # Training.
    "devices share no batches": (
        "range(self.rank, len(self) * self.count, self.count)",
        "range(len(self))",
        "test_devices",
    ),
    "devices drop the same": (
        "% self.accumulate * self.devices + self.global_rank",
        "% self.accumulate",
        "test_devices",
    ),
    "one device tells the loss": ("value = self._over_devices(loss).item()", "value = loss.item()", "test_devices"),
    "the last step is a mean over more than is left": (
        "return loss if left >= self.accumulate else loss * (self.accumulate / left)",
        "return loss",
        "test_trainer_settings",
    ),
    "a run that had stopped early trains on": (
        "if self.wait_count >= self.patience:\n            trainer.should_stop = True",
        "pass",
        "test_trainer_settings",
    ),
    # Decoding.
    "beam forgets what ended": (
        "masked_fill(beams.ended, torch.inf)",
        "masked_fill(beams.ended, -torch.inf)",
        "test_beam",
    ),
    "beam normalises by nothing": (
        "return beams.log_probs / beams.lengths**self.length_normalisation",
        "return beams.log_probs",
        "test_beam",
    ),
    "beam stops too early": (
        "longest: float = self.max_length**self.length_normalisation",
        "longest: float = 1.0",
        "test_beam",
    ),
    "nucleus drops its last symbol": (
        "before = functional.pad(mass.cumsum(dim=-1)[:, :-1], (1, 0))",
        "before = mass.cumsum(dim=-1)",
        "test_sampling",
    ),
    "temperature multiplies": (
        "logits.float() / self.temperature",
        "logits.float() * self.temperature",
        "test_sampling",
    ),
    "samples share a stream": (
        'generator(seed, "sampling", *at)',
        'generator(seed, "sampling", at[0])',
        "test_sampling",
    ),
    "log-probabilities of ended ones": ("log_probs[rows] += logits", "log_probs[rows] -= logits", "test_decoding"),
    # Metrics.
    "error rate over hypotheses": (
        "sum(len(truth) for _, truth in pairs)",
        "sum(len(guess) for guess, _ in pairs)",
        "test_error_rates",
    ),
    "one sample too many counts": ("map(tuple, guesses[: self.k])", "map(tuple, guesses)", "test_error_rates"),
    "Jaccard of sets": (
        "(Counter(first) & Counter(second)).total()",
        "len(set(first) & set(second))",
        "test_similarities",
    ),
    # Data.
    "pixels scaled by 255": ("PIXEL_SCALE = 1 / 256", "PIXEL_SCALE = 1 / 255", "test_batches"),
    "scrambled is chw": (
        "return pictures.reshape(n, channels, height, width)",
        "return pictures.permute(0, 3, 1, 2)",
        "test_batches",
    ),
    "shifted the other way": (
        "(torch.arange(pictures.shape[1]) - down)",
        "(torch.arange(pictures.shape[1]) + down)",
        "test_batches test_evaluation",
    ),
    "noise strikes padding": ("self.noise) & (self.source != PAD)", "self.noise)", "test_pair_batches"),
    "a tenth rounded down": ("[-(-n // 10)]", "[n // 10]", "test_intel_files"),
    "unknown symbols are padding": (
        "self._numbers.get(symbol, UNK)",
        "self._numbers.get(symbol, PAD)",
        "test_transduction_data test_pair_batches",
    ),
    # Records.
    "a seal of nothing": (
        'if content.get("seal") != _seal(',
        'if False and content.get("seal") != _seal(',
        "test_seal test_results",
    ),
    "damaged files pass": ("is_whole = digest(path) == expected", "is_whole = True", "test_results"),
    "damaged checkpoints pass": (
        "return self.path.is_file() and digest(self.path).startswith(self.digest)",
        "return self.path.is_file()",
        "test_records_files",
    ),
    "best epochs pruned": ("if checkpoint.epoch not in best:", "if True:", "test_records_files test_run"),
    "the worst epoch is best": (
        'max(values) if monitor.mode == "max" else min(values)',
        'min(values) if monitor.mode == "max" else max(values)',
        "test_history",
    ),
    "curves cut one short": (
        "whole = min(epoch, epochs_without_gap(path))",
        "whole = min(epoch - 1, epochs_without_gap(path))",
        "test_history",
    ),
    # Statistics and verdicts.
    "interval of the mean, not of a run": (
        "deviation(values) * math.sqrt(1 + 1 / len(values))",
        "deviation(values) * math.sqrt(1 / len(values))",
        "test_report_statistics",
    ),
    "no binomial error": ("math.sqrt(split_variance))", "0.0)", "test_report_statistics"),
    "a loss that is no number is left out": ("MeanMetric(nan_strategy=math.inf)", "MeanMetric()", "test_run"),
    "a line ends anywhere": ("if stray := _STRAY.search(line):", "if stray := None:", "test_pair_files"),
    "no correction": ("(len(ps) - rank) * ps[place]", "ps[place]", "test_report_statistics"),
    "better is worse": (
        "(published < low) == is_better_higher(metric)",
        "(published < low) != is_better_higher(metric)",
        "test_report_statistics",
    ),
    "wide intervals reproduce": ("if reach > allowed:", "if False:", "test_report_statistics"),
    "what diverged vanishes": ("diverged.setdefault(record.id, _diverged(record, contents))", "pass", "test_results"),
    "own files are replaced": (
        "if self.is_own:\n                raise",
        "if False:\n                raise",
        "test_pair_files",
    ),
    "two-sided p": (
        "signs @ values >= values.sum()",
        "np.abs(signs @ values) >= values.sum()",
        "test_report_statistics",
    ),
    "one run decides": ("if len(ours) == 1:", "if False:", "test_report_statistics"),
    "unpaired versions are paired": (
        "paired = [seed for seed in common if seed not in unlike]",
        "paired = common",
        "test_report_checks",
    ),
    "outdated runs win": (
        "chosen = min(same, key=lambda result: result.is_outdated)",
        "chosen = max(same, key=lambda result: result.is_outdated)",
        "test_results",
    ),
    "contradictions unseen": ("contradictory[chosen.run] |= differing", "pass", "test_results"),
}


def copied(folder: Path, text: str = "", replacement: str = "") -> Path:
    """A copy of the code and the tests with the fault in it; the committed records are shared."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "results", "report", "runs"))
    shutil.copytree(ROOT / "dlbench" / "report", folder / "dlbench" / "report")
    (folder / "experiments" / "results").symlink_to(ROOT / "experiments" / "results")
    if text:
        shutil.rmtree(folder / "dlbench" / "bench")  # which repeats some of the code, to be measured against it
        (path,) = (path for path in folder.glob("dlbench/**/*.py") if text in path.read_text(encoding="utf-8"))
        content = path.read_text(encoding="utf-8")
        assert content.count(text) == 1, f"{text} stands in {path} more than once"
        path.write_text(content.replace(text, replacement), encoding="utf-8")
    return folder


def tested(folder: Path, names: str) -> None:
    """Run these quick tests on a copy, in this process, which has imported nothing of the suite yet."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    options = ["-x", "-q", "-m", "not slow and not real_data", "-p", "no:cacheprovider", "--timeout=1800"]
    os._exit(pytest.main([*options, *(f"tests/{name}.py" for name in names.split())]))


def ask(folder: Path, names: str) -> int | None:
    """Pytest's exit code."""
    process = multiprocessing.get_context("fork").Process(target=tested, args=(folder, names))
    process.start()
    process.join()
    return process.exitcode


def main(names: list[str]) -> int:
    """Plant faults, one after the other, and say of each whether it was found; how many were not."""
    chosen = {name: FAULTS[name] for name in names or FAULTS}
    not_found = 0
    with tempfile.TemporaryDirectory() as temporary:
        for name, (text, replacement, tests) in chosen.items():
            folder = copied(Path(temporary) / "faulty", text, replacement)
            is_found = ask(folder, tests) == 1
            not_found += not is_found
            print(f"{'found' if is_found else 'NOT FOUND'}: {name} ({tests})", flush=True)
            shutil.rmtree(folder)
        every = " ".join(sorted({test for *_, tests in chosen.values() for test in tests.split()}))
        if ask(copied(Path(temporary) / "sound"), every) != 0:
            sys.exit(f"these do not pass without a fault either: {every}")
    print(f"{len(chosen) - not_found} of {len(chosen)} faults found")
    return not_found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
