"""One module per reader: what its publisher's archive holds and how the members are called; `plan(draw, seeds)` says it."""
