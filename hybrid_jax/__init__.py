"""hybrid_jax: multilingual dual encoders for retrieval, trained on hybrid monolingual and cross-lingual batches."""
