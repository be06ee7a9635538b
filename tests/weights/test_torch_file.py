"""The reader of PyTorch checkpoints: both containers, bad files, hostile files."""

import io
import re
import struct
import tarfile
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from torch_files import (
    Pickle,
    Raw,
    call,
    global_name,
    legacy_bytes,
    with_state,
    write_torch_file,
    write_zip,
)

from gcnet_tf.errors import UserError
from gcnet_tf.weights.torch import pickle as torch_pickle
from gcnet_tf.weights.torch.file import read_torch_file

CONTAINERS = ("zip", "legacy")
both_containers = pytest.mark.parametrize("container", CONTAINERS)
WEIGHTS = OrderedDict(b=np.arange(6, dtype="f4").reshape(2, 3), a=np.array(7))
META = {"CLASSES": ("cat", "dog"), "PALETTE": [[1, 2, 3]], "iter": 40, "seed": None}


def read(path, content, container="zip"):
    return read_torch_file(write_torch_file(path / "x.pth", content, container))


def assert_equal(arrays, expected):
    assert list(arrays) == list(expected)
    for name, array in arrays.items():
        assert array.dtype == expected[name].dtype
        assert array.shape == expected[name].shape
        assert np.array_equal(array, expected[name])
        assert array.flags.c_contiguous and array.flags.owndata


def assert_refused(path, message):
    with pytest.raises(UserError, match=message) as caught:
        read_torch_file(path)
    assert str(path) in str(caught.value)


# Good files


@both_containers
def test_weights_and_notes_come_back(tmp_path, container):
    result = read(tmp_path, {"meta": META, "state_dict": WEIGHTS}, container)
    assert_equal(result.state_dict, WEIGHTS)
    assert result.meta == META


@both_containers
def test_a_bare_state_dict(tmp_path, container):
    result = read(tmp_path, WEIGHTS, container)
    assert_equal(result.state_dict, WEIGHTS)
    assert result.meta == {}


@both_containers
def test_views_share_a_storage(tmp_path, container):
    base = np.random.default_rng(0).normal(size=(4, 5, 6))
    views = {
        "all": base,
        "transposed": base.T,
        "cut": base[1:3, ::2, 1:5],
        "row": base[3, 4],
        "last": base[3, 4, 5, ...],
        "repeated": np.broadcast_to(base[:1], (3, 5, 6)),
        "fortran": np.asfortranarray(base[0]),
        "empty": base[:0],
        # Channels last, as PyTorch keeps it in memory.
        "image": np.moveaxis(base[None], 3, 1),
    }
    assert_equal(read(tmp_path, views, container).state_dict, views)


@both_containers
@pytest.mark.parametrize("dtype", "f2 f4 f8 i1 i2 i4 i8 u1 ?".split())
def test_types(tmp_path, container, dtype):
    limits = np.array([[0, 1, 100]]) if dtype == "?" else np.array([[0, -1, 100.5]])
    values = {"x": limits.astype("i8").astype(dtype), "scalar": np.ones((), dtype)}
    assert_equal(read(tmp_path, values, container).state_dict, values)


def test_ten_storages_in_a_legacy_file(tmp_path):
    """Their keys are sorted as strings: 0, 1, 10, 2."""
    values = {str(size): np.full(size, size) for size in range(12)}
    assert_equal(read(tmp_path, values, "legacy").state_dict, values)


def test_a_stride_without_meaning(tmp_path):
    """PyTorch allows any stride where a dimension has length 1."""
    pickle = Pickle()
    tensor = pickle.encode(np.arange(3.0).reshape(1, 3))
    strides, other_strides = pickle.encode((3, 1)), pickle.encode((2**62, 1))
    assert strides in tensor
    tensors = {"x": Raw(tensor.replace(strides, other_strides))}
    path = write_torch_file(tmp_path / "x.pth", tensors)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", np.arange(3.0).tobytes())
    assert read_torch_file(path).state_dict["x"].tolist() == [[0, 1, 2]]


def test_the_prefix_of_data_parallel_is_removed(tmp_path):
    prefixed = {"module.a": np.ones(1), "module.module.b": np.ones(2)}
    assert list(read(tmp_path, prefixed).state_dict) == ["a", "module.b"]
    mixed = {"module.a": np.ones(1), "b": np.ones(2)}
    assert list(read(tmp_path, mixed).state_dict) == ["module.a", "b"]


@both_containers
def test_metadata_and_parameters(tmp_path, container):
    pickle = Pickle(legacy=container == "legacy")
    rebuild = global_name("torch._utils _rebuild_parameter")
    arguments = pickle.encode((WEIGHTS["b"], True, OrderedDict()))
    weights = {"b": Raw(rebuild + arguments + b"R")}
    state = {"_metadata": OrderedDict({"": {"version": 1}}), "clear": 1}
    program = pickle.dump(with_state(OrderedDict(weights), state))
    path = tmp_path / "x.pth"
    if container == "legacy":
        path.write_bytes(legacy_bytes(program, pickle.storages))
    else:
        data = WEIGHTS["b"].tobytes()
        # Neither a version nor a byte order in early zip files; any root.
        write_zip(path, {"x_1/data.pkl": program, "x_1/data/0": data})
    assert_equal(read_torch_file(path).state_dict, {"b": WEIGHTS["b"]})


@both_containers
@pytest.mark.parametrize("numpy_core", ["numpy.core", "numpy._core"])
def test_additions_of_mmengine_are_ignored(tmp_path, container, numpy_core):
    """The instructions are those of a file by mmengine 0.10, numpy 1 and 2."""
    dtype = with_state(call("numpy dtype", "f8", False, True), (3, "<", None, -1))
    data = call("_codecs encode", "\x00" * 8, "latin1")
    empty = call("_codecs encode", "b", "latin1")
    ndarray = global_name("numpy ndarray")
    array = call(f"{numpy_core}.multiarray _reconstruct", ndarray, (0,), empty)
    buffer_class = global_name("mmengine.logging.history_buffer HistoryBuffer")
    state = {
        "max_length": 1000000,
        "_log_history": with_state(array, (1, (1,), dtype, False, data)),
        "_statistics_methods": OrderedDict(
            min=call("__builtin__ getattr", buffer_class, "min")
        ),
    }
    file = {
        "meta": META | {"best": call(f"{numpy_core}.multiarray scalar", dtype, empty)},
        "state_dict": WEIGHTS,
        "message_hub": {"loss": with_state(Raw(buffer_class + b")\x81"), state)},
        "optimizer": {"state": {0: {"momentum_buffer": np.ones(3)}}},
        "param_schedulers": [{"last_step": 1}],
    }
    result = read(tmp_path, file, container)
    assert_equal(result.state_dict, WEIGHTS)
    assert META.items() <= result.meta.items()


def test_the_rest_is_not_loaded(tmp_path):
    """The archive lacks the optimizer's data, which is never read."""
    momentum = np.zeros(1000)
    path = tmp_path / "x.pth"
    write_torch_file(path, {"state_dict": WEIGHTS, "optimizer": [momentum]})
    whole = zipfile.ZipFile(path)
    names = [name for name in whole.namelist() if not name.endswith("data/2")]
    assert len(names) == len(whole.namelist()) - 1
    write_zip(path, {name: whole.read(name) for name in names})
    assert_equal(read_torch_file(path).state_dict, WEIGHTS)


@both_containers
def test_other_kinds_are_refused_among_the_weights_only(tmp_path, container):
    path = tmp_path / "x.pth"
    halves = np.arange(5, dtype="i2")
    for weights, other in ((WEIGHTS, halves), ({"w": halves}, WEIGHTS["b"])):
        write_torch_file(path, {"state_dict": weights, "other": other}, container)
        if container == "legacy":
            data = path.read_bytes().replace(b"ShortStorage", b"BFloat16Storage")
            path.write_bytes(data)
        else:
            whole = zipfile.ZipFile(path)
            members = {name: whole.read(name) for name in whole.namelist()}
            program = members["archive/data.pkl"]
            program = program.replace(b"ShortStorage", b"BFloat16Storage")
            write_zip(path, members | {"archive/data.pkl": program})
        if weights is WEIGHTS:
            assert_equal(read_torch_file(path).state_dict, WEIGHTS)
    assert_refused(path, r"'w' as torch\.BFloat16Storage, .* tensor\.float\(\)")


# Bad files


def test_a_missing_file(tmp_path):
    assert_refused(tmp_path / "x.pth", "There is no file .*x.pth")


def test_a_folder(tmp_path):
    assert_refused(tmp_path, "Cannot read")


def tar_bytes():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty. Download"),
        (b"P", "is cut off after 1 bytes"),
        (b"\x80\x02\x8a\x0al", "is cut off after 5 bytes"),
        (b"PK\x03\x04" + bytes(100), "is cut off: its zip archive has no directory"),
        (b"\n<!DOCTYPE html><html>", "is a web page .*, not a PyTorch checkpoint"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file, not"),
        (struct.pack("<Q", 20) + b'{"w":{"dtype":"F32"', "is a safetensors file, not"),
        (b"some text", "is something else, not"),
        (tar_bytes(), r"is a tar archive, .* 0\.1\.11"),
    ],
)
def test_other_files(tmp_path, content, message):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    assert_refused(path, message)


def test_a_legacy_file_cut_off_anywhere(tmp_path):
    path = write_torch_file(tmp_path / "x.pth", WEIGHTS, "legacy")
    data = path.read_bytes()
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        assert_refused(path, "is cut off")


def test_a_zip_file_cut_off_anywhere(tmp_path):
    path = write_torch_file(tmp_path / "x.pth", WEIGHTS)
    data = path.read_bytes()
    for length in range(1, len(data), 7):
        path.write_bytes(data[:length])
        assert_refused(path, "is cut off")


@both_containers
def test_every_damaged_byte_is_read_or_refused(tmp_path, container):
    """Changed data in a legacy file is read, as there is no checksum; else an error."""
    path = write_torch_file(tmp_path / "x.pth", {"w": np.ones(2)}, container)
    data = path.read_bytes()
    outcomes = set()
    for position in range(len(data)):
        changed = data[position] ^ 0x81
        path.write_bytes(data[:position] + bytes([changed]) + data[position + 1 :])
        try:
            read_torch_file(path)
            outcomes.add("read")
        except UserError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_zip_files_of_other_kinds(tmp_path):
    path = tmp_path / "x.pth"
    write_zip(path, {"images/1.jpg": b"1", "data.pkl": b"N."})
    assert_refused(path, "not a PyTorch checkpoint: it has no data.pkl")
    write_zip(path, {"m/data.pkl": b"N.", "m/code/__torch__.py": b""})
    assert_refused(path, "is a TorchScript archive")
    write_zip(path, {"m/data.pkl": b"N.", "m/constants.pkl": b"N."})
    assert_refused(path, "is a TorchScript archive")
    write_zip(path, {"a/data.pkl": b"N.", "b/data.pkl": b"N."})
    assert_refused(path, r"has 2 top folders \('a', 'b'")
    write_zip(path, {"a/data.pkl": b"N."}, compression=zipfile.ZIP_DEFLATED)
    assert_refused(path, "is a compressed zip archive")


def test_storages_of_a_zip_file_must_be_there(tmp_path):
    path = tmp_path / "x.pth"
    pickle = Pickle()
    program = pickle.dump({"w": np.ones(3)})
    write_zip(path, {"a/data.pkl": program})
    assert_refused(path, "has no member 'a/data/0'")
    write_zip(path, {"a/data.pkl": program, "a/data/0": bytes(23)})
    assert_refused(path, "is damaged")
    write_zip(path, {"a/data.pkl": program, "a/data/0": bytes(24)})
    assert read_torch_file(path).state_dict["w"].tolist() == [0, 0, 0]


def test_members_of_false_sizes(tmp_path):
    """Many directory entries for one place would multiply a small file."""
    path = write_zip(tmp_path / "x.pth", {"a/data.pkl": b"N.", "a/1": bytes(500)})
    data = bytearray(path.read_bytes())
    # Two size fields of an entry in the directory, 20 and 24 bytes into it.
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 20 : entry + 28] = struct.pack("<II", 500, 2000)
    path.write_bytes(data)
    assert_refused(path, "is a compressed zip archive")
    data[entry + 20 : entry + 28] = struct.pack("<II", 2000, 2000)
    path.write_bytes(data)
    assert_refused(path, "members of its archive overlap")


def test_big_endian_files(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(legacy_bytes(Pickle().dump({}), {}, little_endian=False))
    assert_refused(path, "was written on a big-endian machine")
    write_zip(path, {"a/data.pkl": b"\x80\x02}.", "a/byteorder": b"big"})
    assert_refused(path, "was written on a big-endian machine")


def test_another_version_of_the_legacy_format(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(legacy_bytes(Pickle().dump({}), {}, protocol=1002))
    # The second pickle holds the version, which is the one that counts.
    assert_refused(path, "has an unknown format version. The known one is 1001")


def test_a_legacy_file_whose_parts_disagree(tmp_path):
    path = tmp_path / "x.pth"
    array = np.ones(3)
    pickle = Pickle(legacy=True)
    program = pickle.dump({"w": array})
    for storages in ({}, {"0": array, "1": array}, {"1": array}):
        path.write_bytes(legacy_bytes(program, storages))
        assert_refused(path, "list of storages is not the one its tensors use")
    path.write_bytes(legacy_bytes(program, {"0": np.ones(4)}))
    assert_refused(path, "a storage has 4 elements where its tensors expect 3")


@pytest.mark.parametrize(
    "content, message",
    [
        ([np.ones(1)], "holds no dictionary"),
        ({}, "holds no tensors"),
        ({"meta": {}, "state_dict": {}}, "holds no tensors"),
        ({"meta": {}, "state_dict": "w"}, "holds no tensors"),
        ({"meta": META}, "something other than tensors in its state dict, at 'meta'"),
        ({"state_dict": {"w": np.ones(1), "v": 1.5}}, "other than tensors .* at 'v'"),
        ({"state_dict": {1: np.ones(1)}}, "at a key that is no text"),
        ({"w": global_name("numpy ndarray")}, "other than tensors .* at 'w'"),
        ({"w": global_name("torch FloatStorage")}, "other than tensors .* at 'w'"),
    ],
)
@both_containers
def test_no_weights(tmp_path, container, content, message):
    path = write_torch_file(tmp_path / "x.pth", content, container)
    assert_refused(path, message)


def test_notes_of_another_form(tmp_path):
    assert read(tmp_path, {"state_dict": WEIGHTS, "meta": [1]}).meta == {}
    notes = {"state_dict": WEIGHTS, "meta": {1: 2, "a": 3}}
    assert read(tmp_path, notes).meta == {"a": 3}


# Hostile files


@both_containers
@pytest.mark.parametrize(
    "name",
    [
        "os system",
        "posix system",
        "builtins exec",
        "__builtin__ eval",
        "builtins getattr",
        "subprocess Popen",
        "numpy load",
        "numpy.testing._private.utils runstring",
        "torch load",
        "torch._utils _import_dotted_name",
        "torch.storage UntypedStorage",
        "collections OrderedDict.__init__",
        "collections namedtuple",
        "gcnet_tf.weights.torch.file _Unpickler",
    ],
)
def test_nothing_is_run(tmp_path, monkeypatch, container, name):
    monkeypatch.chdir(tmp_path)
    hostile = call(name, "touch proof")
    path = write_torch_file(
        tmp_path / "x.pth", {"state_dict": WEIGHTS, "meta": hostile}, container
    )
    shown = re.escape(repr(name.replace(" ", ".")))
    assert_refused(path, f"refers to {shown}.*nothing in it was run")
    assert not (tmp_path / "proof").exists()


def test_the_proof_would_be_noticed(tmp_path, monkeypatch):
    """The pickle module does run the same bytes."""
    import pickle

    monkeypatch.chdir(tmp_path)
    pickle.loads(Pickle().dump(call("os system", "touch proof")))
    assert (tmp_path / "proof").exists()


@pytest.mark.parametrize("module", ["os", "numpy.os", "posix"])
def test_hostile_calls_in_the_first_pickles_of_a_legacy_file(
    tmp_path, monkeypatch, module
):
    monkeypatch.chdir(tmp_path)
    path = write_torch_file(tmp_path / "x.pth", WEIGHTS, "legacy")
    data = path.read_bytes()
    version = Pickle().dump(1001)
    assert version in data
    hostile = Pickle().dump(call(f"{module} system", "touch proof"))
    path.write_bytes(data.replace(version, hostile))
    assert_refused(path, "nothing in it was run")
    assert not (tmp_path / "proof").exists()


SAFE_NAMES = [
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch FloatStorage",
    "numpy ndarray",
    "mmengine.logging.history_buffer HistoryBuffer",
]


@pytest.mark.parametrize("name", SAFE_NAMES)
@pytest.mark.parametrize(
    "state",
    [
        {"__doc__": "changed", "changed": 1},
        (None, {"changed": 1}),
        (None, {"__setstate__": 1, "__class__": global_name("numpy ndarray")}),
        (None, {"__defaults__": (1,), "__code__": 1}),
    ],
)
def test_known_names_cannot_be_changed(tmp_path, name, state):
    """A BUILD instruction would set attributes, which would outlive the file."""
    entry = with_state(global_name(name), state)
    path = write_torch_file(tmp_path / "x.pth", {"state_dict": WEIGHTS, "x": entry})
    assert_refused(path, "is damaged")
    assert_equal(read(tmp_path, WEIGHTS).state_dict, WEIGHTS)
    objects = [
        torch_pickle._Inert,
        torch_pickle._Dict,
        *torch_pickle._FUNCTIONS.values(),
    ]
    for item in [*objects, torch_pickle._rebuild_tensor, torch_pickle.Tensor]:
        assert not hasattr(item, "changed") and item.__doc__ != "changed"


@pytest.mark.parametrize(
    "state", [{"offset": 5}, (None, {"offset": 5}), (None, {"__class__": 1})]
)
def test_a_tensor_cannot_be_changed(tmp_path, state):
    pickle = Pickle()
    tensor = Raw(pickle.encode(np.ones(3)) + pickle.encode(state) + b"b")
    path = write_torch_file(tmp_path / "x.pth", {"w": tensor})
    assert_refused(path, "is damaged")


@pytest.mark.parametrize("name", SAFE_NAMES)
@pytest.mark.parametrize(
    "arguments",
    [(1,), ("a", "b"), ([1, 2], {}, None), ({"a": 1},), tuple(range(9)), (None,) * 6],
)
def test_calls_with_odd_arguments(tmp_path, name, arguments):
    path = write_torch_file(tmp_path / "x.pth", {"w": call(name, *arguments)})
    assert_refused(path, "is damaged|other than tensors")


def rebuild(size, offset, shape, stride, kind="FloatStorage"):
    """Encodes a tensor in a storage "0" of `size` elements."""
    pid = ("storage", global_name(f"torch {kind}"), "0", "cpu", size)
    storage = Raw(Pickle().encode(pid) + b"Q")
    name = "torch._utils _rebuild_tensor_v2"
    return call(name, storage, offset, shape, stride, False, {})


def zip_with(tmp_path, content, data):
    program = Pickle().dump(content)
    return write_zip(tmp_path / "x.pth", {"a/data.pkl": program, "a/data/0": data})


@pytest.mark.parametrize(
    "offset, shape, stride",
    [
        (1, (4,), (1,)),
        (4, (1,), (1,)),
        (4, (), ()),
        (-1, (2,), (1,)),
        (3, (4,), (-1,)),
        (0, (2, 2), (3, 1)),
        (0, (2, 2), (2**61, 1)),
        (2**62, (1,), (1,)),
        (0, (-1,), (1,)),
        (0, (2**62,), (1,)),
        (0, (2, 2), (1,)),
        (0, [4], [1]),
        (0, (4.0,), (1,)),
        (True, (2,), (1,)),
        (0.0, (4,), (1,)),
        (0, ((4,),), (1,)),
        (None, (4,), (1,)),
        (0, (1,) * 100, (1,) * 100),
    ],
)
def test_tensors_outside_their_storage(tmp_path, offset, shape, stride):
    tensors = {"w": rebuild(4, offset, shape, stride)}
    # The data is longer than the storage claims, so numpy alone would not refuse it.
    path = zip_with(tmp_path, tensors, bytes(100))
    assert_refused(path, "is damaged .a tensor that does not lie in its storage")
    whole = {"w": rebuild(4, 0, (4,), (1,))}
    assert len(read_torch_file(zip_with(tmp_path, whole, bytes(16))).state_dict) == 1


def test_a_storage_that_claims_too_much(tmp_path):
    """The claim is within the limit for the file's size, but beyond the data."""
    tensors = {"w": rebuild(8, 0, (8,), (1,))}
    assert_refused(zip_with(tmp_path, tensors, bytes(16)), "is damaged")


def test_tensors_that_would_fill_the_memory(tmp_path):
    huge = {"w": rebuild(4, 0, (2**40,), (0,))}
    assert_refused(zip_with(tmp_path, huge, bytes(16)), "bytes in all, over 8 times")
    many = {str(n): rebuild(1000, 0, (1000,), (1,)) for n in range(1000)}
    assert_refused(zip_with(tmp_path, many, bytes(4000)), "bytes in all, over 8 times")
    empty = {"w": rebuild(4, 0, (2**62, 2**62, 0), (1, 1, 1))}
    assert_refused(zip_with(tmp_path, empty, bytes(16)), "is damaged")


@pytest.mark.parametrize(
    "pid",
    [
        "storage",
        (),
        ("storage",),
        ("module", "a", "b", "c"),
        ("storage", "os", "0", "cpu", 4),
        ("storage", ("FloatStorage",), "0", "cpu", 4),
        ("storage", "FloatStorage", 0, "cpu", 4),
        ("storage", "FloatStorage", "0", "cpu", -4),
        ("storage", "FloatStorage", "0", "cpu", "4"),
        ("storage", "FloatStorage", "0", "cpu", 4, None, None),
    ],
)
def test_storages_of_a_wrong_form(tmp_path, pid):
    storage = Raw(Pickle().encode(pid) + b"Q")
    tensor = call("torch._utils _rebuild_tensor_v2", storage, 0, (4,), (1,), False, {})
    path = zip_with(tmp_path, {"w": tensor}, bytes(16))
    assert_refused(path, "is damaged .a storage of an unknown form")


def test_two_storages_with_one_key(tmp_path):
    tensors = {
        "a": rebuild(4, 0, (4,), (1,)),
        "b": rebuild(2, 0, (2,), (1,), "LongStorage"),
    }
    path = zip_with(tmp_path, tensors, bytes(16))
    assert_refused(path, "two storages with one key")


def test_views_of_storages(tmp_path):
    view = ("1", 0, 4)
    pid = ("storage", global_name("torch FloatStorage"), "0", "cpu", 4, view)
    program = Pickle().dump({"w": Raw(Pickle().encode(pid) + b"Q")})
    path = tmp_path / "x.pth"
    path.write_bytes(legacy_bytes(program, {"0": np.ones(4, "f4")}))
    assert_refused(path, "holds views of storages")


@pytest.mark.parametrize(
    "instructions, name",
    [
        (b"\x82\x01", "EXT1"),
        (b"\x83\x01\x00", "EXT2"),
        (b"\x84\x01\x00\x00\x00", "EXT4"),
        (b"Pstorage\n", "PERSID"),
        (b"(ios\nsystem\n", "INST"),
        (global_name("numpy ndarray") + b")}\x92", "NEWOBJ_EX"),
        (Pickle().encode("os") + Pickle().encode("system") + b"\x93", "STACK_GLOBAL"),
        (b"(" + global_name("numpy ndarray") + b"o", "OBJ"),
        (b"\x8f", "EMPTY_SET"),
        (b"\x8b\x01\x00\x00\x00\x01", "LONG4"),
        (b"I1\n", "INT"),
        (b"\x8e" + bytes(8), "BINBYTES8"),
        (b"N2", "DUP"),
    ],
)
@both_containers
def test_instructions_that_weights_do_not_need(tmp_path, container, instructions, name):
    path = write_torch_file(tmp_path / "x.pth", {"w": Raw(instructions)}, container)
    assert_refused(path, f"uses the pickle instruction {name}, .*nothing in it was run")


def test_new_objects_are_inert_or_refused(tmp_path):
    for name in SAFE_NAMES:
        entry = Raw(global_name(name) + Pickle().encode(("a", 1)) + b"\x81")
        path = write_torch_file(tmp_path / "x.pth", {"w": entry})
        assert_refused(path, "is damaged|other than tensors")


HASHED_TO_0 = 2**61 - 1
MANY = range(1, 30_000)


@pytest.mark.parametrize(
    "program",
    [
        # A tuple so deep that hashing it overflows the stack and kills the process.
        b"})" + b"\x85" * 300_000 + b"Ns.",
        b"})" + b"\x85q\x00" * 300_000 + b"Ns.",
        # 30,000 keys whose hashes are all 0: these took 15 s.
        b"}(" + b"".join(Pickle().encode(k * HASHED_TO_0) + b"N" for k in MANY) + b"u.",
        b"}" + b"".join(Pickle().encode(k * HASHED_TO_0) + b"Ns" for k in MANY) + b".",
        # Tuples could be chosen in the same way.
        b"}(" + b"".join(Pickle().encode((k, 1)) + b"N" for k in MANY) + b"u.",
        b"}(" + b"N" * 2_000_000 + b"u.",
    ],
)
def test_instructions_that_would_kill_or_hold_the_process(tmp_path, program):
    path = write_zip(tmp_path / "x.pth", {"a/data.pkl": b"\x80\x02" + program})
    assert_refused(path, "far more work")


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b".",
        b"0.",
        b"\x80\x09N.",
        b"N",
        b"h\x07.",
        b"(.",
        b"t.",
        b"}]Ns.",
        b"NR.",
        b"X\xff\xff\xff\xffabc",
        b"X\x01\x00\x00\x00\xff.",
        b"cos\n",
        b"c\xff\xff\nsystem\n.",
        b"]" * 200_000 + b"a" * 199_999 + b".",
        # The unpickler in C makes a memo of 32 GiB for this.
        b"}r\xff\xff\xff\xff.",
    ],
)
def test_invalid_pickles_are_refused(tmp_path, program):
    path = write_zip(tmp_path / "x.pth", {"a/data.pkl": program})
    message = "is damaged|is cut off|instruction POP|holds no (dictionary|tensors)"
    assert_refused(path, message)


def test_copies_of_copies_of_a_dictionary(tmp_path):
    """Each call would copy all items: quadratic memory from a small file."""
    values = {"w": np.ones(1), "x": call("collections OrderedDict", {"a": 1})}
    assert_refused(write_torch_file(tmp_path / "x.pth", values), "is damaged")
