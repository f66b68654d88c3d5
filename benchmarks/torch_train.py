"""A training loop in plain PyTorch, as a child of benchmarks/training.py: MODEL PAIRS.jsonl STEPS BATCH BF16(0 or 1)

What a careful user writes without a trainer: mean pooling, in-batch negatives, AdamW, clipping, autocast, dropout as in
the model's config, queries and passages padded to the longest of the batch. Prints what st_train.py prints.
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
import torch
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

model, pairs, steps, batch, bf16 = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "1"
torch.set_num_threads(len(os.sched_getaffinity(0)))
torch.manual_seed(0)
with Path(pairs).open(encoding="utf-8") as lines:
    rows = [json.loads(line) for line in itertools.islice(lines, steps * batch)]
tokenizer, encoder = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).train()
optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-5)
at, positions = [], []


def encode(texts: list[str]) -> torch.Tensor:
    """float32[texts, dim]: the mean of a text's tokens, scaled to length 1."""
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    mask = inputs["attention_mask"]
    positions.append((mask.numel(), int(mask.sum())))
    hidden = encoder(**inputs).last_hidden_state.float()
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return functional.normalize(mean, dim=1)


for step in range(steps):
    here = rows[step * batch : (step + 1) * batch]
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        queries, passages = encode([row["query"] for row in here]), encode([row["passage"] for row in here])
    loss = functional.cross_entropy(20 * queries @ passages.T, torch.arange(len(here)))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
    optimizer.step()
    at.append(time.time())
seconds = [b - a for a, b in itertools.pairwise(at)]
first = at[0] - float(os.environ["BENCHMARK_START"])
share = sum(text for _, text in positions) / sum(whole for whole, _ in positions)
print("\n" + json.dumps({"seconds": seconds, "first": first, "text": share}))
