"""Which gunpowder nodes the stream takes."""

from __future__ import annotations

import gunpowder as gp
import pytest

from trainers.errors import ConfigError
from trainers.stream.pipeline import refuse_stateful

KEY = gp.ArrayKey("RAW")


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (gp.PreCache(), "PreCache cannot be part of the data stream: it ignores seeds"),
        (gp.Reject(KEY), "Reject cannot be part of the data stream: it never ends"),
        (gp.Snapshot({KEY: "raw"}), "Snapshot cannot be part of the data stream: it counts"),
        (gp.Scan(gp.BatchRequest()), "Scan cannot be part of the data stream: it"),
        (
            gp.SpecifiedLocation([(0, 0, 0)]),
            "SpecifiedLocation cannot be part of the data stream: it counts requests; pass "
            "choose_randomly=True",
        ),
        (
            gp.DefectAugment(KEY, artifact_source=gp.BatchProvider()),
            "DefectAugment cannot be part of the data stream: its artifact_source is not seeded",
        ),
    ],
)
def test_impure_nodes_are_refused_by_name(node: gp.BatchProvider, message: str) -> None:
    """The error names the node, why it is refused, and what to use."""
    with pytest.raises(ConfigError) as caught:
        refuse_stateful(node)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    "node",
    [
        gp.NoiseAugment(KEY),
        gp.DefectAugment(KEY),
        gp.SpecifiedLocation([(0, 0, 0)], choose_randomly=True),
        gp.ShiftAugment(),
    ],
)
def test_pure_nodes_are_taken(node: gp.BatchProvider) -> None:
    """Nodes that draw from the seed of the request only may be used."""
    refuse_stateful(node)
