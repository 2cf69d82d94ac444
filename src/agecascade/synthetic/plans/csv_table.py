"""A user's own table, as a spreadsheet program saves it."""

from __future__ import annotations

import csv
import io

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, full_name, subjects
from agecascade.synthetic.rendering import Picture, Seeds
from agecascade.synthetic.view import Style


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`pictures.zip` and `labels.csv`: a byte order mark, quotes, CRLF; one label is empty, one picture missing, one not listed."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    ages = bounded_normal(rng, 36, 17, 1, 95, len(who)).round(1).tolist()
    sigmas = rng.uniform(0.5, 4, len(who)).round(2).tolist()
    unlabelled, missing, unlisted = rng.permutation(len(who))[:3].tolist() if len(who) > 10 else (-1, -1, -1)
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(["path", "label", "sigma", "subject", "gender"])
    pictures = []
    for number, (subject, age, sigma) in enumerate(zip(who, ages, sigmas, strict=True)):
        path = f"faces/{subject:03d}/{number:05d}.jpg"
        pictures.append(Picture(f"pictures/{path}", number, subject, age, "missing" if number == missing else ""))
        if number != unlisted:
            name = ", ".join(reversed(full_name(subject).split()))  # Surname, Forename: so it needs quotes
            table.writerow([path, "" if number == unlabelled else age, sigma, name, seeds.person(subject).gender])
    style = Style(sides=(144, 188), margin=0.35, shift=0.03, zoom=0.05, roll=4, yaw=8, pitch=5)
    return Plan("pictures.zip", style, pictures, loose=[("labels.csv", text.getvalue().encode("utf-8-sig"))])
