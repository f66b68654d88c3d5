"""What other libraries do otherwise than hybrid_jax with an exported folder: shown at export and on the model card."""

from collections.abc import Iterator

from hybrid_jax.export.folder import Plan
from hybrid_jax.export.settings import plain_pooling, transformer_config


def differences(what: Plan) -> Iterator[str]:
    """A line for each difference, without a full stop; none where other libraries give the same vectors by themselves.

    As sentence-transformers 5 and 6 and transformers 5 behave; and transformers 4, where it computes something else
    without an error.
    """
    rules = what.rules
    library = "sentence-transformers" if what.format == "sentence-transformers" else "transformers"
    if len(what.sides) == 2 and rules.max_query_length != rules.max_passage_length:
        yield (
            f"queries are cut at {rules.max_query_length} tokens and passages at {rules.max_passage_length} in "
            f"hybrid_jax; the folder can state one limit, so {library} cuts both at {what.max_length}"
        )
    if any(what.prompts.values()):
        yield (
            "sentence-transformers puts prompts before texts in encode_query and encode_document; encode does so only "
            "with prompt_name"
            if what.format == "sentence-transformers"
            else "transformers knows no prompts: put them before the texts yourself"
        )
    if what.format == "hf":
        how = {"mean": "the mean of the tokens", "cls": "the first token", "pooler": "pooler_output"}
        yield (
            f"transformers returns a vector for each token: the text's is {how[plain_pooling(what.encoder.model)]}, "
            "scaled to length 1"
        )
    if len(what.sides) == 1:
        yield f"the folder is for {what.sides[0]} texts; {library} encodes others with it too, without a warning"
    if what.encoder.tokenizer.truncation_side == "left":
        yield (
            "long texts lose their beginning (truncation_side in tokenizer_config.json); code that reads "
            "tokenizer.json alone cuts their end"
        )
    special_ids = {"pad_token_id": what.encoder.tokenizer.pad_id}
    config = transformer_config(what.encoder.model.encoder, special_ids, what.dtype)
    if "layer_types" in config and "global_attn_every_n_layers" not in config:
        yield "transformers 4 knows evenly spaced global layers only: load it with transformers 5"
    if what.encoder.model.encoder.dtype == "bfloat16":
        folder = "the folder computes" if what.dtype == "float32" else "hybrid_jax computes with the folder"
        yield (
            f"the run and its evaluation computed in bfloat16; {folder} in float32, so its vectors differ a little "
            "from the run's"
        )
    if what.dtype != "float32":
        yield (
            f"transformers 5 computes in {what.dtype}, as the weights are stored, and hybrid_jax in float32: load them "
            'with dtype="float32"' + (" in model_kwargs" if what.format == "sentence-transformers" else "")
        )
