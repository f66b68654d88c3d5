"""Many runs of one config that differ in a few fields: planned, trained and evaluated by any number of workers.

`plan.py` turns a request into arms and run folders, `worker.py` does the runs, `folder.py` says what a sweep's folder
holds. Training and evaluation are the ordinary commands, in processes of their own. Imports config, runs, eval, disk.
"""
