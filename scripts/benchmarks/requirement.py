"""What a measured value must be."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Requirement:
    what: str
    found: float
    must: float
    aim: float | None = None
    is_at_least: bool = False
    """Whether larger is better."""

    @property
    def is_met(self) -> bool:
        return self._reaches(self.must)

    def __str__(self) -> str:
        sign = "≥" if self.is_at_least else "≤"
        verdict = "ok" if self.is_met else "MISSED"
        if self.aim is not None and self._reaches(self.aim):
            verdict = "aim"
        aim = "" if self.aim is None else f", aim {sign} {self.aim:g}"
        return f"  {verdict:8}{self.found:7.3f}  {self.what}: must {sign} {self.must:g}{aim}"

    def _reaches(self, limit: float) -> bool:
        return self.found >= limit if self.is_at_least else self.found <= limit
