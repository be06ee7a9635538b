"""Modules of the reference (mmsegmentation 1.2.2) with drawn weights.

Activations go in and come out as numpy arrays with channels last; inside they are
PyTorch's. Only the plumbing here is ours: all computations are the reference's code.
"""

import platform
import re
import sys
import types
from importlib.metadata import version

import numpy as np
import torch

_UNUSED_OPERATORS = (
    "CrissCrossAttention",
    "PSAMask",
    "point_sample",
    "sigmoid_focal_loss",
)


def _stand_in_for_mmcv_ops() -> None:
    """Replaces the compiled operators, which mmcv-lite lacks and mmseg imports.

    Only heads that are not used here need them.
    """
    module = types.ModuleType("mmcv.ops")
    for name in _UNUSED_OPERATORS:
        setattr(module, name, None)
    sys.modules["mmcv.ops"] = module


_stand_in_for_mmcv_ops()

from drawn import draw_state  # noqa: E402
from mmcv.cnn import ContextBlock, NonLocal2d  # noqa: E402
from mmengine.config import ConfigDict  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.structures import PixelData  # noqa: E402
from mmseg.evaluation import IoUMetric  # noqa: E402
from mmseg.models.segmentors import EncoderDecoder, SegTTAModel  # noqa: E402
from mmseg.models.utils import SELayer, resize  # noqa: E402
from mmseg.registry import DATASETS, MODELS, TRANSFORMS  # noqa: E402
from mmseg.structures import SegDataSample  # noqa: E402
from mmseg.utils import register_all_modules  # noqa: E402

# Scripts import the reference's names from here, after the operators are replaced.
__all__ = [
    "DATASETS",
    "MODELS",
    "TRANSFORMS",
    "ContextBlock",
    "IoUMetric",
    "NonLocal2d",
    "SELayer",
    "SegTTAModel",
    "resize",
]

torch.set_num_threads(2)
MMLogger.get_instance("mmengine", log_level="WARNING")
# Registers the reference's names, and makes "mmseg" the default scope.
register_all_modules()

MEAN = (123.675, 116.28, 103.53)
STANDARD_DEVIATION = (58.395, 57.12, 57.375)
NORM = {"type": "BN", "requires_grad": True}
PACKAGES = (
    "torch",
    "mmsegmentation",
    "mmcv-lite",
    "mmengine",
    "numpy",
    "opencv-python",
)


def versions() -> str:
    """Returns the versions that count, as in "python 3.11.9, torch 2.13.0, …"."""
    names = [f"{name} {version(name)}" for name in PACKAGES]
    return ", ".join([f"python {platform.python_version()}", *names])


def backbone_config(
    depth: int, width: int, frozen_stages: int = -1, plugins: list | None = None
) -> dict:
    """Configures a ResNetV1c with output stride 8.

    Args:
        depth: depth of the ResNet.
        width: base and stem channels.
        frozen_stages: see ResNet of mmsegmentation.
        plugins: context blocks in the stages, see ResNet of mmsegmentation.
    """
    return {
        "type": "ResNetV1c",
        "depth": depth,
        "base_channels": width,
        "stem_channels": width,
        "strides": (1, 2, 1, 1),
        "dilations": (1, 1, 2, 4),
        "contract_dilation": True,
        "frozen_stages": frozen_stages,
        "norm_cfg": NORM,
        "norm_eval": False,
        "style": "pytorch",
        "plugins": plugins,
    }


def gc_head_config(in_channels: int, channels: int, num_classes: int) -> dict:
    """Configures the head with a global context block."""
    return {
        "type": "GCHead",
        "in_channels": in_channels,
        "in_index": 3,
        "channels": channels,
        "ratio": 0.25,
        "pooling_type": "att",
        "fusion_types": ("channel_add",),
        "dropout_ratio": 0,
        "num_classes": num_classes,
        "norm_cfg": NORM,
        "loss_decode": {"type": "CrossEntropyLoss", "loss_weight": 1.0},
    }


def nl_head_config(in_channels: int, channels: int, num_classes: int) -> dict:
    """Configures the head with a non-local block."""
    config = gc_head_config(in_channels, channels, num_classes)
    for name in ("ratio", "pooling_type", "fusion_types"):
        del config[name]
    return {**config, "type": "NLHead"}


def fcn_head_config(in_channels: int, channels: int, num_classes: int) -> dict:
    """Configures the auxiliary head."""
    return {
        "type": "FCNHead",
        "in_channels": in_channels,
        "in_index": 2,
        "channels": channels,
        "num_convs": 1,
        "concat_input": False,
        "dropout_ratio": 0,
        "num_classes": num_classes,
        "norm_cfg": NORM,
        "loss_decode": {"type": "CrossEntropyLoss", "loss_weight": 0.4},
    }


def build_segmentor(
    depth: int,
    width: int,
    head_channels: int,
    aux_channels: int,
    num_classes: int,
    align_corners: bool = False,
    test_cfg: dict | None = None,
    frozen_stages: int = -1,
    ratio: float = 0.25,
    pad_size: tuple[int, int] | None = None,
    non_local: bool = False,
    plugins: list | None = None,
) -> EncoderDecoder:
    """Builds the whole model without dropout, in float32 and in training mode."""
    stage4 = width * 8 * (4 if depth >= 50 else 1)
    aux = fcn_head_config(stage4 // 2, aux_channels, num_classes)
    if non_local:
        head = nl_head_config(stage4, head_channels, num_classes)
    else:
        head = gc_head_config(stage4, head_channels, num_classes)
        head["ratio"] = ratio
    corners = {"align_corners": align_corners}
    return MODELS.build(
        {
            "type": "EncoderDecoder",
            "data_preprocessor": {
                "type": "SegDataPreProcessor",
                "mean": MEAN,
                "std": STANDARD_DEVIATION,
                "bgr_to_rgb": True,
                "pad_val": 0,
                "seg_pad_val": 255,
                "size": pad_size,
            },
            "backbone": backbone_config(depth, width, frozen_stages, plugins),
            "decode_head": {**head, **corners},
            "auxiliary_head": {**aux, **corners},
            "train_cfg": {},
            "test_cfg": ConfigDict(test_cfg or {"mode": "whole"}),
        }
    )


def load_drawn(
    module: torch.nn.Module, seed: int, prefix: str = "", double: bool = True
) -> dict[str, np.ndarray]:
    """Loads drawn weights strictly, and returns them by the whole model's names.

    The counters of batches, which are 0, are not returned.

    Args:
        module: the segmentor or a part of it.
        seed: see `drawn.draw_tensor`.
        prefix: path of the part in the whole model, as in "decode_head.".
        double: whether to convert the module to float64 before.
    """
    if double:
        module.double()
    shapes = {
        prefix + key: tuple(value.shape) for key, value in module.state_dict().items()
    }
    # Subsampling moves convolutions a level deeper; they keep the values of their names
    # without it.
    names = {key: re.sub(r"(_block\.(?:g|phi))\.0\.", r"\1.", key) for key in shapes}
    drawn = draw_state({names[key]: shapes[key] for key in shapes}, seed)
    state = {key: drawn[names[key]] for key in shapes}
    tensors = {key[len(prefix) :]: torch.from_numpy(state[key]) for key in state}
    module.load_state_dict(tensors, strict=True)
    if double and hasattr(module, "data_preprocessor"):
        normalise_exactly(module)
    return state


def normalise_exactly(model: EncoderDecoder) -> None:
    """Gives a float64 model the exact mean and deviation instead of rounded ones."""
    for name, values in (("mean", MEAN), ("std", STANDARD_DEVIATION)):
        exact = torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)
        setattr(model.data_preprocessor, name, exact)


def to_torch(array: np.ndarray) -> torch.Tensor:
    """Converts (batch, height, width, channels) to (batch, channels, height, width)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 1)))


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Converts (batch, channels, height, width) to (batch, height, width, channels)."""
    return np.ascontiguousarray(np.moveaxis(tensor.detach().numpy(), 1, -1))


def bgr_tensor(image: np.ndarray) -> torch.Tensor:
    """Packs RGB uint8 (height, width, 3) as the reference's pipelines do."""
    return torch.from_numpy(image[:, :, ::-1].transpose(2, 0, 1).copy())


def normalised(model: EncoderDecoder, image: np.ndarray) -> torch.Tensor:
    """Preprocesses an RGB uint8 image as the reference does, to (1, 3, h, w)."""
    return model.data_preprocessor({"inputs": [bgr_tensor(image)]})["inputs"]


def data_sample(label: np.ndarray) -> SegDataSample:
    """Packs a label (height, width) as the reference does."""
    sample = SegDataSample()
    truth = torch.from_numpy(label.astype(np.int64))[None]
    sample.gt_sem_seg = PixelData(data=truth)
    return sample


def infer(model: EncoderDecoder, image: np.ndarray) -> torch.Tensor:
    """Computes logits at the size of an RGB uint8 image, by the model's test mode."""
    inputs = normalised(model, image)
    size = tuple(image.shape[:2])
    with torch.no_grad():
        return model.inference(inputs, [{"ori_shape": size, "img_shape": size}])
