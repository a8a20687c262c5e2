"""Train with Lightning as its documentation advises for Slurm: saved and requeued by a signal."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from sleeping_net import SleepingNet, note

NUM_SAMPLES = 1_000_000


class Noise(torch.utils.data.Dataset[torch.Tensor]):
    """sample = f(index)."""

    def __len__(self) -> int:
        return NUM_SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.randn((1, 1, 1, 1), generator=torch.Generator().manual_seed(index))


class Module(pl.LightningModule):
    def __init__(self, seconds: float, journal: Path) -> None:
        super().__init__()
        self.network = SleepingNet(1, seconds, str(journal))

    def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
        prediction = self.network(batch)
        loss = torch.nn.functional.mse_loss(prediction, torch.ones_like(prediction))
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class Journal(Callback):
    """Says when training begins, and from which iteration."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        note(self._path, "restored", iteration=trainer.global_step)


def main() -> None:
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    journal = folder / "journal.jsonl"
    pl.seed_everything(0)
    torch.set_num_threads(1)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=NUM_SAMPLES,
        default_root_dir=folder,
        logger=CSVLogger(folder),
        callbacks=[
            ModelCheckpoint(folder / "checkpoints", every_n_train_steps=100, save_last=True),
            Journal(journal),
        ],
        plugins=[SLURMEnvironment(auto_requeue=True, requeue_signal=signal.SIGUSR2)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    samples = torch.utils.data.DataLoader(Noise(), batch_size=1)
    trainer.fit(Module(seconds, journal), samples)


if __name__ == "__main__":
    main()
