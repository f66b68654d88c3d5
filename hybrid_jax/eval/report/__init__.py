"""What an evaluation writes: report.json (`schema.py`), its page, its Markdown, figures, TREC runs and mteb's files.

Nothing here computes a score: `build.py` takes what was measured, and every other file shows it.
"""
