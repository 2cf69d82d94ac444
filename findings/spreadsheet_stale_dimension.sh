#!/usr/bin/env bash
# openpyxl 3.1.5: reading a sheet row by row believes the size that the file states, and leaves out the rows beyond it.
#
# Sheets of ratings come from programs that may leave the size (<dimension>) of an earlier state in the file. openpyxl's read_only mode,
# the one with flat memory, then gives 5 of 61 rows and no warning. Its usual mode reads all 61, and so does pandas 3.0.0 over openpyxl,
# so that two readers of one sheet disagree. `sheet.reset_dimensions()` before the first row makes read_only read all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "openpyxl==3.1.5" "pandas==3.0.0"
"$folder/venv/bin/python" - "$folder/ratings.xlsx" <<'PY'
import re
import sys
import zipfile

import openpyxl
import pandas as pd

book = openpyxl.Workbook()
for row in [["picture", "rater", "rating"], *([f"{i % 4}.jpg", i, i % 5 + 1] for i in range(60))]:
    book.active.append(row)
book.save(sys.argv[1])
with zipfile.ZipFile(sys.argv[1]) as archive:
    parts = {name: archive.read(name) for name in archive.namelist()}
sheet = "xl/worksheets/sheet1.xml"
parts[sheet] = re.sub(rb'<dimension ref="[A-Z0-9:]+"', b'<dimension ref="A1:C5"', parts[sheet])
with zipfile.ZipFile(sys.argv[1], "w") as archive:
    for name, content in parts.items():
        archive.writestr(name, content)


def rows(reset):
    sheet = openpyxl.load_workbook(sys.argv[1], read_only=True).active
    if reset:
        sheet.reset_dimensions()
    return sum(1 for _ in sheet.iter_rows())


usual = openpyxl.load_workbook(sys.argv[1]).active.max_row
by_pandas = 1 + len(pd.read_excel(sys.argv[1]))
print(f"openpyxl {openpyxl.__version__}, pandas {pd.__version__}: 61 rows; usual mode {usual}, read_only {rows(False)}, after")
print(f"reset_dimensions {rows(True)}; pandas {by_pandas}")
assert (usual, rows(False), rows(True), by_pandas) == (61, 5, 61, 61)
PY
