"""``hydra/launcher=slurm`` and ``slurm_ddp``: the jobs of a sweep as arrays of Slurm, through submitit."""
