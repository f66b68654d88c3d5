"""Training: the loop, the step, the objective and the optimizer. Open loop.py first; step.py is the mathematics.

May import data, model, hub, runtime, runs and disk; nothing imports it but config.py and the commands.
"""
