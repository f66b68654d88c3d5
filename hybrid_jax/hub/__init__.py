"""Models in Hugging Face and sentence-transformers folders: configurations and weights. Open `folders.py` first.

`folders.py` reads what a folder says of its model, `weights.py` loads the parameters. No code from a folder is run.
Imports `model/`; knows no tokenizers and no training.
"""
