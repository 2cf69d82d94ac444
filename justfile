# The project's targets: `uv run just --list`. Each is what README.md and CONTRIBUTING.md say to type.

# list the targets
default:
    @just --list

# make the environment in .venv (1 minute, 7.5 GB)
setup:
    uv sync

# the sample: four drawn data sets, a cascade, seven regressors, the table (3 minutes)
sample:
    uv run agecascade study sample
    uv run dvc repro

# the tests (8 minutes); arguments go to pytest: just test tests/faces
test *ARGS:
    uv run pytest {{ARGS}}

# the slow tests, in their short form
slow *ARGS:
    uv run pytest -m slow {{ARGS}}

# the fast tests on the lowest versions that pyproject.toml allows, in an environment of their own; arguments go to pytest
lowest *ARGS:
    bash .ci/lowest {{ARGS}}

# ruff, formatting, types
lint:
    uv run ruff check .
    uv run ruff format --check .
    uv run mypy

# mend what ruff can mend
format:
    uv run ruff check --fix .
    uv run ruff format .

# build the documentation into site/; a dead link is an error
docs:
    uv run mkdocs build --strict

# read the documentation in a browser
serve:
    uv run mkdocs serve

# draw the figures of the documentation again
figures:
    uv run python docs/theory.py

# print the table of docs/reference/datasets.md
data-table:
    uv run agecascade datasets --markdown

# estimate ages in photos: just predict photos/ ages.csv
predict INPUT OUTPUT MODEL="models/target/dldl_v2-tinyagenet-s0":
    uv run agecascade predict {{INPUT}} --model {{MODEL}} --output {{OUTPUT}}

# write environment.txt: the versions that the committed figures are made with
environment:
    uv run python .ci/environment.py --write

# write the tables of docs/results/ from the runs that metrics/results/ keeps
result-pages:
    uv run python .ci/result_pages.py --write

# a speed, quickly: just benchmark training
benchmark NAME:
    uv run python benchmarks/{{NAME}}.py --quick

# the curves and figures of all runs, in a browser
runs:
    uv run mlflow ui --backend-store-uri sqlite:///mlflow.db

# all that must hold before a change lands
ci:
    bash .ci/run
