"""nnU-Net's trainers: which of them train the network of the plans, and which another one."""

from __future__ import annotations

BATCH_NORM = "nnUNetTrainerBN"  # trains with batch norm, and does not write it into the plans

_OPTIMIZERS = """
Adam Adam1en3 Adam3en4 Adan Adan1en1 Adan1en3 Adan3en4 AdanCosAnneal CosAnneal
VanillaAdam VanillaAdam1en3 VanillaAdam3en4 _warmup
"""
_LOSSES = """
CELoss CELoss_5epochs DiceCELoss_noSmooth DiceLoss DiceTopK10Loss Topk10Loss Topk10LossLS01
NoDeepSupervision
"""
_DATA = """
DA5 DA5Segord0 DA5_10epochs DA5ord0 NoDA NoMirroring _DASegOrd0 _DASegOrd0_NoMirroring
_noDummy2DDA _onlyMirror01 _onlyMirror01_1500ep _onlyMirror01_DASegOrd0
_probabilisticOversampling _probabilisticOversampling_010 _probabilisticOversampling_033
"""
_LENGTHS = """
Benchmark_5epochs Benchmark_5epochs_noDataLoading
_1epoch _5epochs _10epochs _20epochs _50epochs _100epochs _250epochs _500epochs _750epochs
_2000epochs _4000epochs _8000epochs
_250epochs_NoMirroring _2000epochs_NoMirroring _4000epochs_NoMirroring _8000epochs_NoMirroring
"""
# Those of nnunetv2 2.8.1 that leave the network as it is planned.
FAITHFUL = {
    "nnUNetTrainer",
    *(f"nnUNetTrainer{name}" for name in (_OPTIMIZERS + _LOSSES + _DATA + _LENGTHS).split()),
}


def doubt(trainer: str) -> str:
    """A warning about a trainer that may build another network than the plans say; "" if none."""
    if not trainer or trainer == BATCH_NORM or trainer in FAITHFUL:
        return ""
    return (
        f"the trainer {trainer!r} is not one of nnU-Net's own and may have trained another network"
        " than its plans describe: `convert` says whether the weights fit"
    )
