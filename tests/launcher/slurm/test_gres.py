import pytest

from launcher.slurm.gres import gpus_by_type, has_gpus, is_slice


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", {}),
        ("", {}),
        ("gpu:4", {None: 4}),
        ("gpu", {None: 1}),
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:a100:2(S:0,1),gpu:v100:1(S:1),mps:400", {"a100": 2, "v100": 1}),
        ("gpu:a100:2(S:0),gpu:a100:2(S:1)", {"a100": 4}),
        ("gpu:1g.10gb:7(S:0)", {"1g.10gb": 7}),
        ("gpu:a100:4(S:0-1),gpu:a100_1g.5gb:14(S:0-1)", {"a100": 4, "a100_1g.5gb": 14}),
        ("gpu:a100_3g.20gb:2,shard:8", {"a100_3g.20gb": 2}),
        ("gpu:2,shard:no_consume:16", {None: 2}),
        ("gpu:tesla:no_consume:2", {"tesla": 2}),
        ("gpu:no_consume:2", {None: 2}),
        ("gpu:3090:4", {"3090": 4}),
        ("gpu:a100:0,gpu:v100:1", {"v100": 1}),
        ("craynetwork:4,lscratch:100", {}),
    ],
)
def test_gpus_are_counted_by_type(gres, gpus):
    """With sockets, MIG instances and types of digits; shards and MPS are no further GPUs."""
    assert gpus_by_type(gres) == gpus


@pytest.mark.parametrize(
    ("gpu_type", "expected"),
    [
        (None, False),
        ("a100", False),
        ("a100_40gb", False),
        ("a100-80g", False),
        ("v100-32g", False),
        ("nvidia_h100_80gb_hbm3", False),
        ("1g.10gb", True),
        ("a100_1g.5gb", True),
        ("a100_3g", True),
        ("nvidia_h100_80gb_hbm3_1g.10gb", True),
        ("1g.5gb+me", True),
        ("a100-mig", True),
        ("slice", True),
    ],
)
def test_slices_of_gpus_are_told_from_whole_ones(gpu_type, expected):
    """By the names that NVIDIA gives to MIG instances, and those that sites give them."""
    assert is_slice(gpu_type) == expected


@pytest.mark.parametrize(
    ("gres", "expected"),
    [
        ("gpu:1", True),
        ("gpu", True),
        ("lscratch:100,gpu:a100:2", True),
        ("gres/gpu:1", True),
        ("shard:2", True),
        ("lscratch:100", False),
        ("gpunet:1", False),
    ],
)
def test_whether_generic_resources_are_gpus(gres, expected):
    """Or parts of them."""
    assert has_gpus(gres) == expected
