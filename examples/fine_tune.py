"""Fine-tunes a published encoder on a table of questions and answers, and measures it before and after.

    python examples/fine_tune.py [MODEL]

MODEL is a folder, or an id of the Hugging Face hub, which is downloaded once (a BERT, XLM-R, ModernBERT or
sentence-transformers model: docs/models.md). The default has 118 million parameters.
"""

import sys
from pathlib import Path

import hybrid_jax

E5 = "intfloat/multilingual-e5-small"
MODEL = sys.argv[1] if len(sys.argv) > 1 else E5
NAME = f"fine-tuned-{Path(MODEL).resolve().name}"  # each model has a folder of its own
# E5 was trained with these prompts, but its folder on the hub does not state them.
PROMPTS = {"query_prompt": "query: ", "passage_prompt": "passage: "} if MODEL == E5 else {}

config = {
    "pretrained": MODEL,  # tokenizer, pooling and prompts are the model's, unless the config sets them
    "steps": 30,
    "batch_size": 16,
    "data": {
        "datasets": [
            {
                "name": "faq",
                "path": "examples/faq/train.csv",
                "columns": {"id": "number", "lang": "language", "query": "question", "passage": "answer"},
            }
        ],
        "max_query_length": 32,
        "max_passage_length": 40,
        **PROMPTS,
    },
    "optimizer": {"learning_rate": 5e-5},
    "checkpoint": {"every": 30, "keep": 1},
}
run = hybrid_jax.train(config, f"runs/{NAME}")

report = run.evaluate("pooled:examples/faq", untrained=True)
tuned, published = report.tasks["pooled:faq"], report.others["untrained"]["pooled:faq"]
for name, headline in {"published": published, "fine-tuned": tuned}.items():
    means = [f"{headline.value('map', setting):.3f}" for setting in ("monolingual", "cross_lingual", "multilingual")]
    print(f"{name:10}  mAP Mo. {means[0]}  Cr. {means[1]}  Mul. {means[2]}")
print(f"to use it elsewhere: hybrid-jax export --ckpt runs/{NAME} --out exported/{NAME}")
