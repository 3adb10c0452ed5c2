"""``hydra/sweeper=optuna_search``: trials are jobs of a sweep, and the study is a file that programs share."""
