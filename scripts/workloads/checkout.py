"""Where things lie in this checkout."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "fib25.yaml"
SAMPLE = ROOT / "examples" / "data" / "fib25.zarr"
LAUNCH = (sys.executable, "-P", "-c", "import sys; from launcher.cli import main; sys.exit(main())")
"""The command `launch` of this checkout, for a process of its own."""
