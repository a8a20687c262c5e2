"""A trainer that only reads its stream, with two workers: `stream_until_killed.py PICKLED_SPEC`."""

import os
import pickle
import sys
from pathlib import Path

from trainers.stream.sample_stream import SampleStream

if __name__ == "__main__":
    spec = pickle.loads(Path(sys.argv[1]).read_bytes())
    with SampleStream(spec, 2, 0) as stream:
        while True:
            stream.next()
            os.write(sys.stdout.fileno(), b"batch\n")
