"""Checkpoints of other programs, made into checkpoints of this one: one peer a file.

A peer's module has `read(path) -> Imported`: what was found in its file, by this program's names. `conversion` builds
the network from it and refuses whatever does not fit.
"""

PEERS = {  # peer -> what is read of it
    "speechbrain": "ECAPA-TDNN and ResNet34: embedding_model.ckpt, or the folder of a pretrained model",
    "wespeaker": "ECAPA-TDNN and ResNet18 to ResNet293: avg_model.pt, or the folder of a pretrained model",
    "voxceleb_trainer": "ResNetSE34L and ResNetSE34V2: a .model file",
}
