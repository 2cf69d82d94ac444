#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93 and Pillow 13.0.0: whether a picture is turned by its orientation tag depends on its format.
#
# OpenCV turns JPEG, PNG and WebP by the tag, and leaves them with IMREAD_IGNORE_ORIENTATION. It turns a TIFF with that flag as well,
# and an AVIF never. Pillow says the stored size before `ImageOps.exif_transpose`, but of a TIFF the turned size, while the tag still
# says 6. Whoever reads all formats with one OpenCV call shows AVIF photos of phones on their side to a face detector, and whoever
# computes the upright size from Pillow's size and tag gets width and height of a TIFF exchanged.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "opencv-python-headless==5.0.0.93" "pillow==13.0.0" "numpy==2.4.0"
"$folder/venv/bin/python" - <<'PY'
import io

import cv2
import numpy as np
import PIL
from PIL import Image, ImageOps

LYING, STANDING = (80, 40), (40, 80)  # width, height
picture = Image.new("RGB", LYING, "red")
tag = Image.Exif()
tag[0x0112] = 6  # a quarter turn

seen = {}
for name in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
    file = io.BytesIO()
    picture.save(file, name, exif=tag)
    encoded = np.frombuffer(file.getvalue(), np.uint8)
    turned, left = (cv2.imdecode(encoded, flag).shape[1::-1] for flag in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION))
    opened = Image.open(file)
    seen[name] = (turned, left, opened.size, opened.getexif().get(0x0112), ImageOps.exif_transpose(opened).size)
    print(f"{name}: OpenCV {turned}, told to ignore the tag {left}; Pillow {seen[name][2]}, tag {seen[name][3]}, upright {seen[name][4]}")

print(f"OpenCV {cv2.__version__}, Pillow {PIL.__version__}")
for name in ("JPEG", "PNG", "WEBP"):
    assert seen[name] == (STANDING, LYING, LYING, 6, STANDING), name
assert seen["TIFF"] == (STANDING, STANDING, STANDING, 6, STANDING)
assert seen["AVIF"] == (LYING, LYING, LYING, 6, STANDING)
PY
