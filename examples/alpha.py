"""What the share of monolingual batches (alpha) does: three runs, and their language bias side by side.

    python examples/alpha.py

examples/faq holds new questions in three languages, and the answers of all languages in one pool. `hybrid-jax ablate`
does this with several seeds, equal budgets, intervals and tests (docs/ablate.md).
"""

import hybrid_jax

print("alpha   mAP Mo.   Cr.  Mul.  rank distance")
for alpha in (0.0, 0.5, 1.0):
    run = hybrid_jax.train(
        "examples/faq.yaml", f"runs/faq-alpha-{alpha}", fields={"mixture.monolingual_fraction": alpha}
    )
    report = hybrid_jax.evaluate(run.encoder(), "pooled:examples/faq", say=lambda line: None)
    result = report.tasks["pooled:faq"]
    means = [result.value("map", setting) for setting in ("monolingual", "cross_lingual", "multilingual")]
    print(f"{alpha:5.1f}  {'  '.join(f'{mean:.3f}' for mean in means)}  {result.value('rank_distance'):.1f}")
