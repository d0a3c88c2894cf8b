"""Runs → one self-contained HTML file: tables with intervals, plots, and every task to look at.

In: folders of runs. Out: a page that needs no network. `content` says what is on it, `plots` draws, `diffs`
marks what a completion has and lacks, `templates/` is the page.
"""
