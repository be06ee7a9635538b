"""SavedModels of strangers: what could reach a file is refused before it is run."""

import pytest
import tensorflow as tf
from exported_files import describe, outputs_info, write_saved_model
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.models import build_model
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.backends.operations import check_operations
from gcnet_tf.runtime.manifest import LABELS, TensorInfo

IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, "images")


def in_a_branch(act):
    def acting(path):
        act(path)
        return path

    return lambda path: tf.cond(tf.size(path) > 0, lambda: acting(path), lambda: path)


def in_a_data_set(act):
    def map_function(path):
        act(path)
        return path

    return (
        lambda path: tf.data.Dataset.from_tensors(path)
        .map(map_function)
        .reduce("", lambda old, new: new)
    )


def save(path):
    tf.raw_ops.SaveV2(
        prefix=path, tensor_names=["a"], shape_and_slices=[""], tensors=[[1.0]]
    )


ATTACKS = {
    "WriteFile": lambda path: tf.io.write_file(path, "theirs"),
    "ReadFile": tf.io.read_file,
    "MatchingFiles": tf.io.matching_files,
    "SaveV2": save,
    "RestoreV2": lambda path: tf.raw_ops.RestoreV2(
        prefix=path, tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
    ),
    "PrintV2": lambda path: tf.raw_ops.PrintV2(
        input="theirs", output_stream="file:///tmp/never"
    ),
    "EagerPyFunc": lambda path: tf.py_function(lambda: None, [], []),
    "TextLineDataset": lambda path: tf.raw_ops.TextLineDataset(
        filenames=path, compression_type="", buffer_size=0
    ),
}


def attack(folder, act, elsewhere):
    """Writes a SavedModel that acts in the network, or in another signature."""

    @tf.function(input_signature=[IMAGES], autograph=False)
    def quiet(images):
        return {LABELS: images[..., 0]}

    @tf.function(input_signature=[IMAGES], autograph=False)
    def loud(images):
        act(tf.constant(str(folder / "target")))
        return {LABELS: images[..., 0]}

    module = tf.Module()
    signatures = {"network": quiet, "other": loud} if elsewhere else {"network": loud}
    path = folder / "saved_model"
    tf.saved_model.save(module, str(path), signatures=signatures)
    images = TensorInfo("images", "uint8", "nhwc", "RGB")
    return describe(
        path,
        "saved_model",
        None,
        None,
        images,
        outputs_info(LABELS),
        ["data.dataset=shapes"],
    )


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize(
    "place, elsewhere",
    [
        (lambda act: act, False),
        (lambda act: act, True),
        (in_a_branch, True),
        (in_a_data_set, False),
    ],
    ids=["network", "another signature", "branch", "data set"],
)
def test_what_reaches_files_is_refused(name, place, elsewhere, tmp_path):
    path = attack(tmp_path, place(ATTACKS[name]), elsewhere)
    with pytest.raises(UserError, match=f"holds the operation {name}, which no export"):
        Predictor(path)
    assert [item.name for item in tmp_path.iterdir()] == ["saved_model"]


def test_tables_which_read_their_files_are_refused(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("secret\n")
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(words), tf.string, 0, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        ),
        -1,
    )
    tf.saved_model.save(module, str(tmp_path / "model"))
    with pytest.raises(UserError, match="holds an object"):
        check_operations(tmp_path / "model")


@pytest.mark.parametrize("moment", ["_create_resource", "_initialize"])
def test_resources_which_reach_files_are_refused(moment, tmp_path):
    """TensorFlow runs both functions while it loads a model."""

    class Resource(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self):
            self._act("_create_resource")
            return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[])

        def _initialize(self):
            self._act("_initialize")

        def _act(self, at):
            if at == moment:
                tf.io.write_file(str(tmp_path / "target"), "theirs")

    module = tf.Module()
    module.resource = Resource()
    tf.saved_model.save(module, str(tmp_path / "model"))
    with pytest.raises(UserError, match="holds the operation WriteFile, which no"):
        check_operations(tmp_path / "model")


def test_other_graphs_are_refused(tmp_path):
    """TensorFlow runs nodes of a graph without objects while it loads it."""
    path = write_saved_model(tmp_path)
    check_operations(path)
    file = path / "saved_model.pb"
    for change in (
        lambda model: model.meta_graphs[0].ClearField("object_graph_def"),
        lambda model: model.meta_graphs.add(),
    ):
        model = SavedModel.FromString(file.read_bytes())
        change(model)
        (tmp_path / "changed").mkdir(exist_ok=True)
        (tmp_path / "changed" / "saved_model.pb").write_bytes(model.SerializeToString())
        with pytest.raises(UserError, match="no object graph, or several"):
            check_operations(tmp_path / "changed")


def test_no_graph_is_unreadable(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x0b no graph")
    with pytest.raises(UserError, match="Cannot open .*damaged"):
        check_operations(tmp_path)


SMALL = ["model.head.channels=8", "model.auxiliary.channels=8"]
RESNET = [*SMALL, "model.backbone.base_channels=4"]
WINDOWS = ["evaluation.window=[48,40]", "evaluation.stride=[32,24]"]
EXPORTS = {
    "gc": ("shapes_r18", RESNET, {}),
    "bf16": ("shapes_r18", RESNET, {"precision": "bf16"}),
    "winograd": ("shapes_r18", ["model.head.channels=256"], {"target": "cpu-fp32"}),
    "one size": ("shapes_r18", RESNET, {"size": (64, 64), "values": "logits"}),
    "slide": ("shapes_r18", [*RESNET, "evaluation.mode=slide", *WINDOWS], {}),
    "ms_flip": ("shapes_r18", [*RESNET, "evaluation.ms_flip=true"], {}),
    "corners": ("shapes_r18", [*RESNET, "model.align_corners=true"], {}),
    "avg": ("shapes_r18", [*RESNET, "model.head.context.pooling=avg"], {}),
    "nl": ("camvid_r18_nl", RESNET, {}),
    "snl": ("camvid_r18_snl", RESNET, {}),
    "se": ("camvid_r18_se", ["model.backbone.base_channels=4"], {}),
    "mobilenet v2": ("voc_mobilenetv2_20k", SMALL, {}),
    "mobilenet v3": ("voc_mobilenetv3_20k", SMALL, {}),
}


@pytest.mark.slow
@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("kind", EXPORTS)
def test_every_export_is_taken(kind, tmp_path):
    name, settings, options = EXPORTS[kind]
    config = load_config(name, settings)
    (path,) = export_saved_model(build_model(config), config, tmp_path, **options)
    check_operations(path)
