"""Many runs of one config that differ in a few fields: planned, trained, evaluated, and compared on one page.

`plan.py` turns a request into arms and run folders, `worker.py` does the runs, `folder.py` says what a sweep's folder
holds, `page.py` writes the page. Training and evaluation are the ordinary commands, in processes of their own. Imports
config, runs, eval, runtime and disk; no room imports this one.
"""
