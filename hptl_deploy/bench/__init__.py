"""How fast a model runs here: every engine of this machine on the same micrographs, in turn.

frames       synthetic micrographs, or those of a folder
work         operations that the network takes for a frame, counted from its graph
peak         a big matrix product: what the device can do at best, in the same rounds
contenders   engines (every backend x every precision file), and who else takes part
rounds       warm-up with class maps compared, then every contender once per round
files        micrograph files in, results out, as `segment` does it
run, result  all of it, and what came of it
"""

from hptl_deploy.bench.frames import FRAMES, Frames, folder_frames, synthetic_frames
from hptl_deploy.bench.result import Result, Row
from hptl_deploy.bench.run import bench

__all__ = [
    "FRAMES",
    "Frames",
    "Result",
    "Row",
    "bench",
    "folder_frames",
    "synthetic_frames",
]
