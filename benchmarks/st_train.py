"""sentence-transformers' trainer, as a child of the other programs: MODEL PAIRS.jsonl STEPS BATCH BF16(0 or 1) OUT MINI

MINI is the mini-batch of CachedMultipleNegativesRankingLoss; 0 stands for MultipleNegativesRankingLoss. Prints as its
last line {"seconds": [of each step after the first], "first": seconds from the start of the process to the end of the
first step, "text": the share of positions that hold text in the batches as they are padded}.
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
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from transformers import TrainerCallback

model, pairs, steps, batch, bf16, out, mini = sys.argv[1:]
torch.set_num_threads(len(os.sched_getaffinity(0)))
with Path(pairs).open(encoding="utf-8") as lines:
    rows = [json.loads(line) for line in lines][: int(steps) * int(batch)]
at, positions = [], []


class Clock(TrainerCallback):
    """Notes the time of every step's end."""

    def on_step_end(self, *_, **__):
        at.append(time.time())


def note_positions(module, inputs):
    """Notes how many positions a batch has, and how many of them hold text."""
    mask = inputs[0]["attention_mask"]
    positions.append((mask.numel(), int(mask.sum())))


encoder = SentenceTransformer(model, device="cpu")
encoder.max_seq_length = 256
encoder[0].register_forward_pre_hook(note_positions)
loss = (
    CachedMultipleNegativesRankingLoss(encoder, mini_batch_size=int(mini))
    if int(mini)
    else MultipleNegativesRankingLoss(encoder)
)
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
    loss=loss,
    callbacks=[Clock()],
).train()
result = {
    "seconds": [b - a for a, b in itertools.pairwise(at)],
    "first": at[0] - float(os.environ["BENCHMARK_START"]),
    "text": sum(text for _, text in positions) / sum(whole for whole, _ in positions),
}
print("\n" + json.dumps(result))
