"""An augment that changes nothing, but is not fit for threads: processes make its samples."""

import gunpowder as gp
from attrs import frozen

from trainers.gp_augments import AugmentConfig


class _Nothing(gp.BatchFilter):
    def process(self, batch, request):
        pass


@frozen(kw_only=True)
class InProcessConfig(AugmentConfig):
    """Changes nothing."""

    def node(self, raw_key, gt_key, mask_key):
        return _Nothing()
