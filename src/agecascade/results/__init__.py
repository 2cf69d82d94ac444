"""The project's own tables of results: studies/results/ says what to run, metrics/results/ keeps what was measured.

definition: which runs and rows a table has. kept: the files of finished runs. queue: runs them by DVC. table: prints all as Markdown.
"""
