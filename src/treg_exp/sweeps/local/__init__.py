"""``hydra/launcher=local_gpus``: the jobs of a sweep in processes of this machine."""
