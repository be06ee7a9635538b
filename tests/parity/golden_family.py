"""Golden numbers of the other blocks and of models with them (make_golden.py)."""

import numpy as np
import reference
from drawn import checksum, draw_image, draw_normal, state_checksum
from reference import NonLocal2d, SELayer, to_numpy, to_torch

Arrays = dict[str, np.ndarray]

WEIGHTS_SEED = 11
INPUT_SEED = 12


# --- the other blocks -----------------------------------------------------------------

NON_LOCAL_MODES = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")


def non_local() -> Arrays:
    """Computes the variants of the non-local block."""
    shape = (2, 5, 7, 12)
    inputs = draw_normal("input", shape, INPUT_SEED)
    weighting = draw_normal("weighting", shape, INPUT_SEED)
    arrays: Arrays = {"input_checksum": np.float64(checksum([inputs, weighting]))}
    for mode in NON_LOCAL_MODES:
        for use_scale in (True, False) if mode == "embedded_gaussian" else (True,):
            for sub_sample in (False, True):
                block = NonLocal2d(
                    12,
                    sub_sample,
                    reduction=2,
                    use_scale=use_scale,
                    mode=mode,
                    norm_cfg=reference.NORM,
                )
                if mode == "concatenation":
                    # mmcv divides in place a tensor that ReLU's gradient needs, which
                    # torch refuses.
                    block.concat_project.register_forward_hook(
                        lambda module, inputs, output: output.clone()
                    )
                name = mode + "_unscaled" * (not use_scale) + "_halved" * sub_sample
                prefix = "decode_head.nl_block."
                arrays.update(_passes(name, block, inputs, weighting, prefix))
    return arrays


def squeeze_excitation() -> Arrays:
    """Computes SE blocks with bottlenecks of 8, and of 40, to which 37 is rounded."""
    arrays: Arrays = {}
    for channels, ratio in ((16, 16), (75, 2)):
        shape = (2, 3, 2, channels)
        inputs = draw_normal(f"input {channels}", shape, INPUT_SEED)
        weighting = draw_normal(f"weighting {channels}", shape, INPUT_SEED)
        name = str(channels)
        arrays[f"{name}/input_checksum"] = np.float64(checksum([inputs, weighting]))
        block = SELayer(channels, ratio)
        arrays.update(_passes(name, block, inputs, weighting, "se_layer.", (False,)))
    return arrays


def _passes(name, block, inputs, weighting, prefix, training=(False, True)) -> Arrays:
    """Computes a block's output and gradients, with running and batch statistics."""
    state = reference.load_drawn(block, WEIGHTS_SEED, prefix)
    arrays: Arrays = {f"{name}/weights_checksum": np.float64(state_checksum(state))}
    for train in training:
        block.train(train)
        block.zero_grad()
        leaf = to_torch(inputs).requires_grad_()
        outputs = block(leaf)
        (outputs * to_torch(weighting)).sum().backward()
        key = f"{name}/train" if train else f"{name}/eval"
        arrays[f"{key}_output"] = to_numpy(outputs)
        arrays[f"{key}_input_gradient"] = to_numpy(leaf.grad)
        for parameter, value in block.named_parameters():
            arrays[f"{key}_gradient/{parameter}"] = value.grad.numpy().copy()
    return arrays


# --- other whole models ---------------------------------------------------------------

# Rows and columns of large maps that are stored, so that the files stay small.
EVERY_THIRD = (slice(None, None, 3), slice(None, None, 3))
_GC_PLUGIN = {
    "cfg": {"type": "ContextBlock", "ratio": 0.25},
    "stages": (False, True, True, True),
    "position": "after_conv3",
}
_NL_PLUGIN = {
    "cfg": {"type": "NonLocal2d", "norm_cfg": reference.NORM, "sub_sample": True},
    "stages": (False, False, True, False),
    "position": "after_conv3",
}
FAMILY = {
    "nl_head": {"depth": 18, "non_local": True},
    "gc_plugins": {"depth": 50, "plugins": [_GC_PLUGIN]},
    "nl_plugins": {"depth": 50, "plugins": [_NL_PLUGIN]},
}


def family() -> Arrays:
    """Computes the logits of whole models with other blocks."""
    image = draw_image(INPUT_SEED, 65, 97)
    arrays: Arrays = {"input_checksum": np.float64(checksum([image]))}
    for name, arguments in FAMILY.items():
        model = reference.build_segmentor(
            width=4, head_channels=16, aux_channels=8, num_classes=5, **arguments
        )
        state = reference.load_drawn(model, WEIGHTS_SEED)
        arrays[f"{name}/weights_checksum"] = np.float64(state_checksum(state))
        arrays[f"{name}/names"] = np.array("\n".join(sorted(state)))
        model.eval()
        arrays[f"{name}/logits"] = to_numpy(reference.infer(model, image))[0][
            EVERY_THIRD
        ]
    return arrays
