"""Trains yoyodyne's attentive LSTM on P2G pairs, an epoch for every line on standard input; needs no dlbench.

    python yoyodyne_worker.py FOLDER CORES

FOLDER has ``train.tsv`` and ``valid.tsv``: segments between spaces, a tab, the spelling. CORES, as in ``0,1``, are
those it may use, a thread each. It prints a line of JSON when it is ready (version, parameters), and one after every
epoch: ``seconds`` of training and validation, and the share of validation words that are right, ``accuracy``.
"""

import json
import logging
import os
import sys
import tempfile
import time
import warnings
from functools import partial
from importlib.metadata import version
from typing import Any


def say(**facts: Any) -> None:
    """Print a line of JSON."""
    print(json.dumps(facts), flush=True)


def main(folder: str, cores: list[int]) -> None:
    """Train until standard input ends."""
    os.sched_setaffinity(0, cores)
    import lightning
    import torch
    from yoyodyne import data, optimizers, schedulers, trainers
    from yoyodyne.models import SoftAttentionLSTMModel, modules

    torch.set_num_threads(len(cores))
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Turns(lightning.Callback):
        """Waits before an epoch, and tells its time after."""

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            if not sys.stdin.readline():
                sys.exit()
            self.began = time.perf_counter()

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            seconds = time.perf_counter() - self.began
            say(seconds=seconds, accuracy=float(trainer.callback_metrics["val_accuracy"]))

    lightning.seed_everything(42)
    with tempfile.TemporaryDirectory() as scratch:
        pairs = data.DataModule(
            model_dir=scratch,
            train=f"{folder}/train.tsv",
            val=f"{folder}/valid.tsv",
            source_sep=" ",
            target_sep="",
            tie_embeddings=False,  # source and target symbols are numbered apart, as here
            batch_size=64,
        )
        model = SoftAttentionLSTMModel(
            source_encoder=modules.LSTMEncoder(
                embedding_size=128, hidden_size=64, layers=1, bidirectional=True, dropout=0.3
            ),
            embedding_size=128,
            decoder_hidden_size=128,
            decoder_layers=1,
            decoder_dropout=0.3,
            optimizer=partial(optimizers.Adam, lr=0.003),
            scheduler=schedulers.Dummy,
            target_vocab_size=pairs.target_vocab_size,
            vocab_size=pairs.vocab_size,
            max_source_length=pairs.max_source_length,
            max_target_length=pairs.max_target_length,
        )
        trainer = trainers.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=-1,
            callbacks=[Turns()],
            logger=False,
            default_root_dir=scratch,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        say(version=version("yoyodyne"), parameters=sum(each.numel() for each in model.parameters()))
        trainer.fit(model, pairs)


if __name__ == "__main__":
    main(sys.argv[1], [int(core) for core in sys.argv[2].split(",")])
