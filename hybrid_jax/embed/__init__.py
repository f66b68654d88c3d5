"""Trained models as encoders: texts -> vectors of length 1, in memory or in a store on disk.

Start with `load.py`, which opens a run or a published model, and `encoder.py`, which it returns. May import `data`,
`model`, `hub`, `runtime`, `runs` and `disk`.
"""
