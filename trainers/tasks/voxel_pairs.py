"""The kernel that compares voxels with their neighbors. It releases the GIL, so threads overlap."""

from __future__ import annotations

import numba


@numba.njit(nogil=True, cache=True)
def mark_pairs(values, offsets, before, must_be_equal, marks):  # type: ignore[no-untyped-def]
    """Set `marks` `[offset, z, y, x]` to 1 where both voxels of a pair are nonzero, 0 elsewhere.

    Args:
        values: `[z, y, x]`, larger than the block of marks.
        offsets: `[offset, axis]`, from the first of a pair to the second.
        before: Where the block begins in `values`, in voxels.
        must_be_equal: Set 1 only where both are equal too.
    """
    num_x = marks.shape[3]
    for channel in range(marks.shape[0]):
        step_z, step_y, step_x = offsets[channel]
        for z in range(marks.shape[1]):
            for y in range(marks.shape[2]):
                here = values[z + before[0], y + before[1], before[2] :]
                there = values[z + before[0] + step_z, y + before[1] + step_y, before[2] + step_x :]
                target = marks[channel, z, y]
                if must_be_equal:
                    for x in range(num_x):
                        target[x] = (here[x] == there[x]) & (here[x] != 0)
                else:
                    for x in range(num_x):
                        target[x] = (here[x] != 0) & (there[x] != 0)
