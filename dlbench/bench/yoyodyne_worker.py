"""Trains yoyodyne's attentive LSTM on P2G pairs, an epoch at every command; needs no dlbench.

    python yoyodyne_worker.py PAIRS SCRATCH CONNECTION

PAIRS has ``train.tsv`` and ``valid.tsv``: segments between spaces, a tab, the spelling. CONNECTION is the number of an
open `multiprocessing` connection. It is sent ``version`` and ``parameters`` first; to ``step`` the ``seconds`` of an
epoch, validation included, and to ``metrics`` the share of validation words, ``accuracy``, right before the last one.
It trains on all cores that it may use, a thread each.
"""

import logging
import os
import sys
import time
import warnings
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any


def main(folder: str, scratch: str, connection: Connection) -> None:
    """Train until nobody is at the connection's other end."""
    import lightning
    import torch
    from yoyodyne import data, optimizers, schedulers, trainers
    from yoyodyne.models import SoftAttentionLSTMModel, modules

    class Turns(lightning.Callback):
        """Waits before an epoch, and tells its time after."""

        accuracies = 0.0, 0.0

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            """Wait for ``step``."""
            self.accuracies = self.accuracies[1], float(trainer.callback_metrics.get("val_accuracy", 0))
            try:
                while connection.recv()[0] == "metrics":
                    connection.send({"accuracy": self.accuracies[0]})
            except EOFError:
                sys.exit()
            self.began = time.perf_counter()

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            """Answer it."""
            connection.send({"seconds": time.perf_counter() - self.began})

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    lightning.seed_everything(42)
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
    connection.send({"version": version("yoyodyne"), "parameters": sum(each.numel() for each in model.parameters())})
    trainer.fit(model, pairs)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Connection(int(sys.argv[3])))
