"""Trains on a table of questions and answers in three languages, and searches it: from the root of a clone,

    python examples/own_data.py

To use a table of yours, copy examples/faq.yaml and name its file and columns there.
"""

import csv
from pathlib import Path

import hybrid_jax

# The same call again resumes the run, or returns at once if it is complete.
run = hybrid_jax.train("examples/faq.yaml", "runs/faq")
print(run.metrics)
print(f"loss of the first step {run.metrics['loss'][0]:.2f}, of the last ten {run.metrics['loss'][-10:].mean():.2f}")

with Path("examples/faq/train.csv").open(encoding="utf-8") as file:
    answers = [row["answer"] for row in csv.DictReader(file)]
encoder = run.encoder()
passages = encoder.encode_passages(answers)

# None of these questions is in the table.
for question in ["Can I borrow a helmet?", "Sind Stationen um Mitternacht geöffnet?", "Quiero cancelar, ¿cómo?"]:
    scores = encoder.similarity(encoder.encode_queries([question]), passages)[0]
    print(f"\n{question}")
    for place in scores.argsort()[::-1][:3]:
        print(f"  {scores[place]:.3f}  {answers[place]}")
