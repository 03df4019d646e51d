"""Weights of SpeechBrain's ECAPA-TDNN in this program's names; the model is `model=ecapa_speechbrain`."""

import re

from torch import Tensor

RULES = (  # SpeechBrain wraps each convolution and batch norm of torch's once more: `conv.conv`, `norm.norm`
    (r"\b(conv|norm|conv1|conv2)\.(?:conv|norm)\.(\w+)$", r"\1.\2"),
    (r"^(asp_bn|fc)\.(?:norm|conv)\.", r"\1."),
    (r"^blocks\.0\.", "stem."),
    (r"\.tdnn1\.", ".expand."),
    (r"\.res2net_block\.blocks\.", ".res2.layers."),
    (r"\.tdnn2\.", ".merge."),
    (r"\.se_block\.conv1\.", ".se.squeeze."),
    (r"\.se_block\.conv2\.", ".se.excite."),
    (r"^mfa\.", "aggregate."),
    (r"^asp\.tdnn\.conv\.", "pooling.frame_projection."),
    (r"^asp\.tdnn\.norm\.", "pooling.norm."),
    (r"^asp\.conv\.", "pooling.score."),
    (r"^asp_bn\.", "pooling_norm."),
    (r"^fc\.", "project."),
)
LINEAR = ("squeeze.weight", "excite.weight", "project.weight")  # 1x1 convolutions over one frame there


def ecapa_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict for `speakerlab.encoders.ecapa.Ecapa`.

    Args:
        state: of `speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN` with global context, such as the file
            `embedding_model.ckpt` of spkrec-ecapa-voxceleb.
    """
    ours = {}
    for name, tensor in state.items():
        for theirs, our in RULES:
            name = re.sub(theirs, our, name)
        # Their first block is the stem, so that the others count from one.
        name = re.sub(r"^blocks\.(\d+)\.", lambda found: f"blocks.{int(found[1]) - 1}.", name)
        ours[name] = tensor.squeeze(-1) if name.endswith(LINEAR) else tensor
    # The attention's first layer there sees [frame; mean; deviation] side by side; here the last two once an utterance.
    whole = ours["pooling.frame_projection.weight"]
    channels = whole.shape[1] // 3
    ours["pooling.frame_projection.weight"] = whole[:, :channels]
    ours["pooling.context_projection.weight"] = whole[:, channels:, 0]
    return ours
