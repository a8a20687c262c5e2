"""What stock and our pipelines have in common. Lengths are in voxels."""

from __future__ import annotations

import math

NEIGHBORHOOD = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (-8, 0, 0), (0, -8, 0), (0, 0, -8))
ELASTIC_SPACING = 32
ELASTIC_SIGMA = 4.0
ROTATION = (0.0, math.pi / 2)
SUBSAMPLE = 8
VOXEL_SIZE_NM = 8.0
