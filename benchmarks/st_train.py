"""sentence-transformers' trainer, as a child of benchmarks/training.py: MODEL PAIRS.jsonl STEPS BATCH BF16(0 or 1) OUT.

Prints {"seconds": [seconds of each step after the first]} as its last line.
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import TrainerCallback

model, pairs, steps, batch, bf16, out = sys.argv[1:]
torch.set_num_threads(len(os.sched_getaffinity(0)))
with Path(pairs).open(encoding="utf-8") as lines:
    rows = [json.loads(line) for line in lines][: int(steps) * int(batch)]
at = []


class Clock(TrainerCallback):
    """Notes the time of every step's end."""

    def on_step_end(self, *_, **__):
        at.append(time.perf_counter())


encoder = SentenceTransformer(model, device="cpu")
encoder.max_seq_length = 256
SentenceTransformerTrainer(
    model=encoder,
    args=SentenceTransformerTrainingArguments(
        output_dir=out,
        num_train_epochs=1,
        per_device_train_batch_size=int(batch),
        learning_rate=2e-5,
        bf16=bf16 == "1",
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    ),
    train_dataset=Dataset.from_dict({"anchor": [r["query"] for r in rows], "positive": [r["passage"] for r in rows]}),
    loss=MultipleNegativesRankingLoss(encoder),
    callbacks=[Clock()],
).train()
print("\n" + json.dumps({"seconds": [b - a for a, b in itertools.pairwise(at)]}))
