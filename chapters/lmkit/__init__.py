"""The toolkit that lessons and exercises import: corpus, tokenizer, metrics, ladder, training loop, plots and checks."""

__version__ = "0.1.0"
