"""agecascade.faces.fingerprints: against a case by hand, the package imagehash, and what copies are."""

from __future__ import annotations

import hashlib
import struct

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image

from agecascade.faces.fingerprints import BITS, MEAN_FACE, MIRRORED, SIDE, coefficients, file_digest, hash_thumbnail, perceptual_hash


def smooth(seed: int, side: int = 96) -> np.ndarray:
    """A picture (side, side, 3) with structure of all sizes, as photographs have."""
    rng = np.random.default_rng(seed)
    noise = sum(cv2.resize(rng.normal(size=(n, n, 3)), (side, side), interpolation=cv2.INTER_CUBIC) for n in (3, 6, 12, 24))
    return np.clip(128 + 40 * noise, 0, 255).astype(np.uint8)


def hash_of(image: np.ndarray) -> int:
    return int(perceptual_hash(hash_thumbnail(image)[None])[0])


def differing(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def test_black_beside_white_by_hand():
    """Only the odd horizontal frequencies of row 0 are not zero, their signs -, +, -, +; elsewhere a bit says that the mean is below 0."""
    picture = np.zeros((1, SIDE, SIDE), np.uint8)
    picture[:, :, SIDE // 2 :] = 255
    rows = ["00111011", "00101010", "10100000", "00101000", "00101000", "00101000", "10000010", "10000000"]
    assert int(perceptual_hash(picture)[0]) == int("".join(rows), 2)


def test_a_plain_picture_has_no_bits():
    assert hash_of(np.full((50, 50, 3), 77, np.uint8)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_transform_is_that_of_imagehash(seed: int):
    """imagehash.phash, which compares with the median, of pictures that need no scaling: bit for bit."""
    grey = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    low = coefficients(grey[None])[0]
    np.testing.assert_array_equal(low > np.median(low), imagehash.phash(Image.fromarray(grey)).hash)


def changes(image: np.ndarray) -> dict[str, np.ndarray]:
    side = len(image)
    bytes_of = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    return {
        "compressed": cv2.imdecode(bytes_of, cv2.IMREAD_COLOR),
        "half": cv2.resize(image, (side // 2, side // 2), interpolation=cv2.INTER_AREA),
        "larger": cv2.resize(image, (2 * side, 2 * side), interpolation=cv2.INTER_CUBIC),
        "brighter": np.clip(image * 0.9 + 20, 0, 255).astype(np.uint8),
    }


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_near_and_others_far_as_imagehash_has_it(seed: int):
    image, other = smooth(seed), smooth(seed + 100)
    theirs = imagehash.phash(Image.fromarray(image))
    for name, changed in changes(image).items():
        ours, reference = differing(hash_of(image), hash_of(changed)), theirs - imagehash.phash(Image.fromarray(changed))
        assert ours <= 4, name
        assert abs(ours - reference) <= 4, name
    assert differing(hash_of(image), hash_of(other)) > 14
    assert theirs - imagehash.phash(Image.fromarray(other)) > 14


@pytest.mark.parametrize("seed", range(5))
def test_a_mirrored_picture_turns_the_odd_columns_over(seed: int):
    image = smooth(seed, SIDE)
    assert hash_of(image[:, ::-1]) == hash_of(image) ^ MIRRORED


def test_hashes_leave_the_sign_free():
    result = perceptual_hash(np.stack([hash_thumbnail(smooth(seed)) for seed in range(40)]))
    assert result.min() >= 0
    assert BITS == 63
    used = np.bitwise_or.reduce(result) & ~np.bitwise_and.reduce(result)
    assert int(used).bit_count() > 50


def test_a_picture_does_not_depend_on_its_neighbours():
    pictures = np.stack([hash_thumbnail(smooth(seed)) for seed in range(7)])
    assert perceptual_hash(pictures).tolist() == [int(perceptual_hash(picture[None])[0]) for picture in pictures]


def test_mean_face_is_shorter_than_its_faces():
    assert np.square(MEAN_FACE).sum() < 1000**2


def test_digest_is_the_start_of_blake2b():
    for data in (b"", b"a", bytes(range(256))):
        assert struct.pack("<q", file_digest(data)) == hashlib.blake2b(data).digest()[:8]
