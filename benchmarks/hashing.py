"""How fast stored crops are hashed, decoding included, and how long near pairs among many hashes take to find.

usage: uv run python benchmarks/hashing.py [--quick] [--workers N]
The crops are drawn, JPEG of quality 95; the hashes are random but for a hundredth that are near copies. --quick takes fewer.
The last line printed is one JSON object: faces_per_s (crops of 128 pixels), faces_per_s_64, faces_per_s_256,
search_seconds, search_hashes, peak_mib.
"""

from __future__ import annotations

import argparse
import json
import time

import cv2
import numpy as np

from agecascade import duplicates
from memory import peak_mib


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)  # so that only the workers load the cores
    count, searched = (2_000, 50_000) if arguments.quick else (20_000, 500_000)
    rates = {side: rate(side, count, arguments.workers) for side in (64, 128, 256)}
    seconds = search(searched)
    peak = round(peak_mib())
    print(
        json.dumps(
            {
                "faces_per_s": rates[128],
                "faces_per_s_64": rates[64],
                "faces_per_s_256": rates[256],
                "search_seconds": round(seconds, 2),
                "search_hashes": searched,
                "peak_mib": peak,
            }
        )
    )


def rate(side: int, count: int, workers: int) -> int:
    """Crops of `side` pixels hashed in a second."""
    drawn = [crop(seed, side) for seed in range(200)]
    images = [drawn[i % len(drawn)] for i in range(count)]
    duplicates.hashes(images[:200], workers)  # warm-up
    start = time.perf_counter()
    duplicates.hashes(images, workers)
    return round(count / (time.perf_counter() - start))


def crop(seed: int, side: int) -> bytes:
    """A picture with structure of all sizes and some grain, encoded as the align stage does."""
    rng = np.random.default_rng(seed)
    coarse = sum(cv2.resize(rng.normal(size=(n, n, 3)), (side, side), interpolation=cv2.INTER_CUBIC) for n in (4, 8, 16, 32))
    image = np.clip(128 + 35 * coarse + rng.normal(scale=4, size=(side, side, 3)), 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def search(count: int) -> float:
    """Seconds for all near pairs, mirrored ones too, of as many hashes; fails where a planted pair is missed."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, count)
    planted = count // 100
    hashes[:planted] = hashes[-planted:] ^ (1 << rng.integers(0, 63, planted))
    start = time.perf_counter()
    pairs = duplicates.copies(hashes, hashes)
    seconds = time.perf_counter() - start
    found_pairs = set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
    assert all((row, count - planted + row) in found_pairs for row in range(planted)), "a planted pair is missing"
    return seconds


if __name__ == "__main__":
    main()
